/** `pnpm bench image [--peer] ...`: set-up, then the benchmark of whole updates; see bench/README.md. */
import { pnpm } from './pnpm.mjs';
import { setup } from './setup.mjs';

setup();
process.exit(pnpm(['--silent', '--filter', '@d2v/bench', 'bench', ...process.argv.slice(2)]));
