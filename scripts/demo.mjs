/**
 * `npm run demo`: set-up, then the `tiny` preset learns from the built-in data of one modality (images, or
 * `-- --modality audio|text`), or of all of them in one model (`-- --modality all`), and is compared with the untrained
 * network and with plain features. Further arguments go to `d2v train`, e.g. `npm run demo -- --data emoji`.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './pnpm.mjs';
import { setup } from './setup.mjs';

const MODALITIES = ['image', 'audio', 'text'];

/** Takes `--modality <name>` out of the arguments. */
function takeModality(args) {
  const at = args.findIndex((arg) => arg === '--modality' || arg.startsWith('--modality='));
  if (at < 0) return 'image';
  const [flag, ...more] = args.splice(at, args[at] === '--modality' ? 2 : 1);
  const value = flag === '--modality' ? more[0] : flag.slice('--modality='.length);
  if ([...MODALITIES, 'all'].includes(value)) return value;
  console.error(
    `demo: --modality must be one of ${[...MODALITIES, 'all'].join(', ')}, not ${value ?? 'nothing'}`,
  );
  process.exit(1);
}

const args = process.argv.slice(2);
const modality = takeModality(args);
setup();
const given = (flag) => args.includes(flag) || args.some((arg) => arg.startsWith(`${flag}=`));
if (!given('--run') && !given('-r')) {
  const parts = ['demo'];
  if (modality !== 'image') parts.push(modality);
  if (args.includes('--data')) parts.push(args[args.indexOf('--data') + 1].replace(/\W+/g, '-'));
  const name = join('runs', parts.join('-'));
  rmSync(join(root, name), { recursive: true, force: true }); // the demo always starts from scratch
  args.push('--run', name);
}
const what = modality === 'all' ? ['--modalities', MODALITIES.join(',')] : [modality];
process.exit(
  run(process.execPath, [
    join('packages', 'cli', 'dist', 'bin.js'),
    'train',
    ...what,
    '--preset',
    'tiny',
    ...args,
  ]),
);
