/** `pnpm parity <fixture.json> ...`: set-up, then the comparison with values of the reference implementation. */
import { resolve } from 'node:path';
import { pnpm } from './pnpm.mjs';
import { setup } from './setup.mjs';

setup();
const args = process.argv.slice(2).map((arg) => (arg.startsWith('-') ? arg : resolve(arg)));
process.exit(pnpm(['--silent', '--filter', '@d2v/test', 'parity', ...args]));
