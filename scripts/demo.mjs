/**
 * `npm run demo`: set-up, then the `tiny` preset learns from the built-in data of one modality (images, or
 * `-- --modality audio|text`), or of all of them in one model (`-- --modality all`), and is compared with the untrained
 * network and with plain features. Further arguments go to `d2v train`, e.g. `npm run demo -- --data emoji`.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { root, run } from './pnpm.mjs';
import { setup } from './setup.mjs';

const MODALITIES = ['image', 'audio', 'text'];

/** Ends with a message. */
function fail(message) {
  console.error(`demo: ${message}`);
  process.exit(1);
}

/** What the demo itself needs to know of the arguments, and those that go on to `d2v train`. */
function readArguments(args) {
  // Not strict: what the demo does not know is for `d2v train` to judge.
  const { values, tokens } = parseArgs({
    args,
    strict: false,
    tokens: true,
    options: {
      modality: { type: 'string' },
      data: { type: 'string', multiple: true },
      run: { type: 'string', short: 'r' },
      resume: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const choices = [...MODALITIES, 'all'];
  const { modality = 'image', data = [], help, resume } = values;
  if (!choices.includes(modality)) {
    const given = typeof modality === 'string' && modality !== '' ? modality : 'nothing';
    fail(`--modality must be one of ${choices.join(', ')}, not ${given}`);
  }
  if (!data.every((value) => typeof value === 'string' && value !== ''))
    fail('--data must be a dataset, a file or a folder');
  const own = tokens
    .filter(({ kind, name }) => kind === 'option' && name === 'modality')
    .flatMap(({ index, inlineValue }) => (inlineValue === true ? [index] : [index, index + 1]));
  const further = args.filter((_, index) => !own.includes(index));
  return { modality, data, help, resume, run: values.run, further };
}

/**
 * The demo starts from scratch, but its last run must outlive a start that fails: it steps aside, and is deleted when
 * there is a new one in its place, or comes back. Also settles what a demo that was killed left.
 */
function settle(folder, aside) {
  if (!existsSync(aside)) return;
  const started = existsSync(folder) && readdirSync(folder).length > 0;
  rmSync(started ? aside : folder, { recursive: true, force: true });
  if (!started) renameSync(aside, folder);
}

/** A run that goes on in another process keeps its folder. */
function refuseInUse(folder) {
  const lock = join(folder, '.lock');
  if (!existsSync(lock)) return;
  try {
    process.kill(JSON.parse(readFileSync(lock, 'utf8')).pid, 0);
  } catch (error) {
    if (error.code !== 'EPERM') return; // of a process that is gone, not of another user's
  }
  fail(`${folder} is in use by another process: wait for it, or name another folder with --run`);
}

const { modality, data, help, resume, run: named, further } = readArguments(process.argv.slice(2));
setup();
const what = modality === 'all' ? ['--modalities', MODALITIES.join(',')] : [modality];
const train = [join('packages', 'cli', 'dist', 'bin.js'), 'train', ...what, '--preset', 'tiny', ...further];
if (help || named !== undefined) process.exit(run(process.execPath, train));

const parts = ['demo', ...(modality === 'image' ? [] : [modality])];
for (const value of data) parts.push(value.replace(/\W+/g, '-'));
const name = join('runs', parts.join('-'));
train.push('--run', name);
if (resume) process.exit(run(process.execPath, train));

const folder = join(root, name);
const aside = join(dirname(folder), `.${basename(folder)}.last`);
settle(folder, aside);
refuseInUse(folder);
if (existsSync(folder)) renameSync(folder, aside);
const status = run(process.execPath, train);
settle(folder, aside);
process.exit(status);
