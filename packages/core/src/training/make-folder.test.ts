import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeFolder } from './make-folder.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-make-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

it('makes what is missing and says which was the first, also when several do', async () => {
  const path = join(root, 'a', 'b', 'c');
  expect(await makeFolder(path)).toBe(join(root, 'a'));
  expect((await stat(path)).isDirectory()).toBe(true);
  expect(await makeFolder(path)).toBeUndefined();
  await Promise.all(Array.from({ length: 20 }, () => makeFolder(join(root, 'x', 'y', 'z'))));
  expect((await stat(join(root, 'x', 'y', 'z'))).isDirectory()).toBe(true);
});

it('throws what stands in the way', async () => {
  await writeFile(join(root, 'file'), '');
  await expect(makeFolder(join(root, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeFolder(join(root, 'file', 'a', 'b'))).rejects.toMatchObject({
    code: expect.stringMatching(/^(ENOTDIR|EEXIST)$/),
  });
  if (process.getuid?.() === 0) return;
  await chmod(root, 0o500);
  await expect(makeFolder(join(root, 'a', 'b'))).rejects.toMatchObject({ code: 'EACCES' });
});

it.runIf(process.platform === 'linux')('comes back where no folder can be made', async () => {
  // As another user than root, /proc says so itself.
  await expect(makeFolder('/proc/d2v/datasets/letters')).rejects.toMatchObject({
    code: expect.stringMatching(/^(EPERM|EACCES)$/),
  });
});
