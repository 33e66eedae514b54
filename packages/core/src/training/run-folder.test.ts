import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeFileSynced } from './atomic-file.js';
import { RunFolder } from './run-folder.js';

let parent: string;
let path: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'd2v-run-'));
  path = join(parent, 'deep', 'run');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const open = (resume: boolean) => RunFolder.open(path, { resume, keep: 3 });
const write = (target: string) => writeFileSynced(join(target, 'model.safetensors'), 'x');

describe('RunFolder', () => {
  it('is made for a new run and holds one process at a time', async () => {
    const folder = await open(false);
    expect(folder.resumeFrom).toBeNull();
    await expect(open(false)).rejects.toThrow(/in use by process/);
    await folder.close();
    // Nothing came of the run: what was made for it is gone.
    expect(readdirSync(parent)).toEqual([]);
  });

  it('asks for --resume when there is a run, and for a run when there is none', async () => {
    await expect(open(true)).rejects.toThrow(/does not exist/);
    mkdirSync(path, { recursive: true });
    await expect(open(true)).rejects.toThrow(/no checkpoint to resume from/);
    const again = await open(false);
    await again.store.save(7, false, write);
    await again.close();
    await expect(open(false)).rejects.toThrow(/holds a run already \(checkpoint 7\).*--resume/);
    const resumed = await open(true);
    expect(resumed.resumeFrom).toBe(7);
    await resumed.close();
  });

  it('clears away old leftovers of killed processes only', async () => {
    mkdirSync(path, { recursive: true });
    for (const name of ['curves.html.tmp-12-ab', 'config.yaml.tmp-13-cd', 'notes.tmp'])
      writeFileSync(join(path, name), '');
    const old = new Date(Date.now() - 600_000);
    for (const name of ['curves.html.tmp-12-ab', 'notes.tmp']) utimesSync(join(path, name), old, old);
    await (await open(false)).close();
    expect(readdirSync(path).sort()).toEqual(['config.yaml.tmp-13-cd', 'notes.tmp']);
  });

  it('says so when a file stands in its place', async () => {
    mkdirSync(join(parent, 'deep'));
    writeFileSync(path, '');
    await expect(open(false)).rejects.toThrow(/a file stands where a folder is needed/);
  });
});
