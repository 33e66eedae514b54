/** `pnpm parity <fixture.json> ...`: set-up, then the comparison with values of the reference implementation. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pnpm } from './pnpm.mjs';
import { setup } from './setup.mjs';

/**
 * The comparison runs in another folder: paths are made absolute, which are fixtures and what begins with a dot.
 *
 * @param {string[]} args
 */
export const withAbsolutePaths = (args) =>
  args.map((arg) => (/^[^-].*\.json$|^\.\.?[\\/]/.test(arg) ? resolve(arg) : arg));

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  setup();
  const args = withAbsolutePaths(process.argv.slice(2));
  process.exit(pnpm(['--silent', '--filter', '@d2v/test', 'parity', ...args]));
}
