import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeFileSynced } from './atomic-file.js';
import { CheckpointStore, findCheckpoint } from './checkpoint-store.js';

let run: string;
let folder: string;
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'd2v-checkpoints-'));
  folder = join(run, 'checkpoints');
});
afterEach(() => {
  if (existsSync(folder)) chmodSync(folder, 0o755);
  rmSync(run, { recursive: true, force: true });
});

const write = (target: string) => writeFileSynced(join(target, 'model.safetensors'), 'x');
const visible = () => readdirSync(folder).sort();

describe('CheckpointStore', () => {
  it('publishes checkpoints and moves the pointers', async () => {
    const store = new CheckpointStore(folder);
    expect(await store.resolve('last')).toBeNull();
    await store.save(10, true, write);
    await store.save(20, false, write);
    expect(visible()).toEqual(['10', '20', 'best', 'last']);
    expect(readlinkSync(join(folder, 'last'))).toBe('20');
    expect(await store.resolve('best')).toBe(10);
  });

  it('keeps a number of old ones, and always last and best', async () => {
    const store = new CheckpointStore(folder, 2);
    for (const update of [10, 20, 30, 40, 50]) await store.save(update, update === 20, write);
    expect(await store.list()).toEqual([20, 40, 50]);
    const one = new CheckpointStore(folder, 1);
    await one.save(60, false, write);
    expect(await one.list()).toEqual([20, 60]);
  });

  it('leaves everything as it was when a write fails', async () => {
    const store = new CheckpointStore(folder);
    await store.save(10, false, write);
    const full = store.save(20, true, async (target) => {
      await write(target);
      throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
    });
    await expect(full).rejects.toThrow(
      /checkpoint 20 .*disk is full, .* free;.*\(checkpoint 10 is untouched\)/,
    );
    expect(visible()).toEqual(['10', 'last']);
    expect(await store.resolve('last')).toBe(10);
  });

  it('clears away what killed processes left', async () => {
    const store = new CheckpointStore(folder);
    await store.save(10, false, write);
    for (const name of ['20.tmp-1-ab', '5.trash-1-ab', '10.old-1-ab']) mkdirSync(join(folder, name));
    writeFileSync(join(folder, 'last.tmp-9-ab'), '');
    await store.clean();
    expect(visible()).toEqual(['10', 'last']);
  });

  it('replaces a checkpoint that was published before its pointer moved', async () => {
    const store = new CheckpointStore(folder);
    await store.save(10, false, write);
    mkdirSync(join(folder, '20'));
    expect(await store.resolve('last')).toBe(10);
    await store.save(20, false, write);
    expect(existsSync(join(folder, '20', 'model.safetensors'))).toBe(true);
    expect(visible()).toEqual(['10', '20', 'last']);
  });

  it('takes the newest checkpoint when the pointer is lost, and reads pointer files', async () => {
    const store = new CheckpointStore(folder);
    for (const update of [9, 10]) await store.save(update, false, write);
    unlinkSync(join(folder, 'last'));
    expect(await store.resolve('last')).toBe(10);
    writeFileSync(join(folder, 'last'), '9\n');
    expect(await store.resolve('last')).toBe(9);
  });
});

describe('findCheckpoint', () => {
  it('understands run folders, checkpoint folders and pointers', async () => {
    const store = new CheckpointStore(folder);
    for (const update of [9, 10]) await store.save(update, update === 9, write);
    expect(await findCheckpoint(run)).toBe(join(folder, '10'));
    expect(await findCheckpoint(run, 'best')).toBe(join(folder, '9'));
    expect(await findCheckpoint(join(folder, '9'))).toBe(join(folder, '9'));
    unlinkSync(join(folder, 'last'));
    writeFileSync(join(folder, 'last'), '9\n');
    expect(await findCheckpoint(join(folder, 'last'))).toBe(join(folder, '9'));
    await expect(findCheckpoint(folder)).rejects.toThrow(/holds no checkpoint/);
    writeFileSync(join(run, 'other.pt'), 'x');
    await expect(findCheckpoint(join(run, 'other.pt'))).rejects.toThrow(/other\.pt is no model: give/);
  });
});
