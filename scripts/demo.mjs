/**
 * `npm run demo`: set-up, then the `tiny` preset learns from 10 000 handwritten digits for two to three minutes on two
 * cores and is compared with the untrained network and with raw pixels. Further arguments go to `d2v train image`, e.g.
 * `npm run demo -- --data emoji`.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './pnpm.mjs';
import { setup } from './setup.mjs';

setup();
const args = process.argv.slice(2);
const given = (flag) => args.includes(flag) || args.some((arg) => arg.startsWith(`${flag}=`));
if (!given('--run') && !given('-r')) {
  const data = args[args.indexOf('--data') + 1];
  const name = join('runs', args.includes('--data') ? `demo-${data.replace(/\W+/g, '-')}` : 'demo');
  rmSync(join(root, name), { recursive: true, force: true }); // the demo always starts from scratch
  args.push('--run', name);
}
process.exit(
  run(process.execPath, [
    join('packages', 'cli', 'dist', 'bin.js'),
    'train',
    'image',
    '--preset',
    'tiny',
    ...args,
  ]),
);
