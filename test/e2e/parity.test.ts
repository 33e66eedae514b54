/** What `pnpm parity` hands on to the comparison, which runs in another folder. */
import { resolve } from 'node:path';
import { expect, it } from 'vitest';

it('makes paths absolute, and nothing else', async () => {
  const { withAbsolutePaths } = await import(new URL('../../scripts/parity.mjs', import.meta.url).href);
  const others = ['--brief', '--device', 'cuda', '--plugin', '@d2v/modality-image'];
  expect(withAbsolutePaths(['fixtures/a.json', ...others, 'b.json', '--plugin', './mine'])).toEqual([
    resolve('fixtures/a.json'),
    ...others,
    resolve('b.json'),
    '--plugin',
    resolve('mine'),
  ]);
});
