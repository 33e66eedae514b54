/**
 * `npm test`: set-up, linter and type check, tests of the kernels (the CUDA ones on the host, and compiled where nvcc is), unit
 * tests of every package, end-to-end tests.
 */
import { pnpm } from './pnpm.mjs';
import { setup } from './setup.mjs';

setup();
const concurrency = '--concurrency=1'; // the native kernels use every core already
for (const tasks of [
  ['lint', '//#lint:root'],
  ['test:kernels', 'check:cuda', 'test:emulated', 'test'],
]) {
  const status = pnpm([
    'exec',
    'turbo',
    'run',
    ...tasks,
    concurrency,
    '--output-logs=new-only',
    ...process.argv.slice(2),
  ]);
  if (status !== 0) process.exit(status);
}
