/** The one place that knows how pnpm is started: the pinned version, through npx, on any machine with npm. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/**
 * Runs a command in the repository root and returns its exit status; its output goes where ours goes.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} [options]
 */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32', // npx is a .cmd file there
    ...options,
  });
  if (result.error) throw result.error;
  return result.status ?? 1;
}

/**
 * Runs the pinned pnpm.
 *
 * @param {string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} [options]
 */
export const pnpm = (args, options) => run('npx', ['--yes', packageManager, ...args], options);
