import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import {
  type Assets,
  BadSampleError,
  type DataConfig,
  type DataSource,
  type DataSplit,
  Philox,
  resolveConfig,
} from '@d2v/core';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { TextDataConfig } from './data-config.js';
import text from './index.js';
import { openTextInputs } from './inputs.js';
import { openTextData } from './open.js';
import { makeTokenizer } from './tokenizer/open.js';

const root = mkdtempSync(join(tmpdir(), 'd2v-open-'));
afterAll(() => rmSync(root, { recursive: true }));

let folder: string;
let logged: string[];
beforeEach(() => {
  folder = mkdtempSync(join(root, 'case-'));
  logged = [];
});

type Data = TextDataConfig & DataConfig;
const defaults = resolveConfig({ modality: text, preset: 'tiny' }).data as Data;
const settings = (changes: object): Data => ({
  ...defaults,
  path: join(folder, 'text'),
  dataset: null,
  sample_break_mode: null,
  vocab_size: 300,
  tokens_per_sample: 16,
  ...changes,
});
const open = (split: DataSplit, changes: object = {}, assets?: Assets) =>
  openTextData(settings(changes), {
    split,
    cacheDir: join(folder, 'cache'),
    log: (line) => logged.push(line),
    ...(assets && { assets }),
  });
const write = (name: string, content: string | Uint8Array) => {
  const path = join(folder, 'text', name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  return path;
};
async function all(source: DataSource): Promise<number[][]> {
  const rows: number[][] = [];
  for (let i = 0; i < source.length; i++) {
    const { tensors } = await source.get(i, new Philox(1), 'eval');
    rows.push([...tensors.source!.data]);
  }
  return rows;
}
const textOf = (source: DataSource, rows: number[][]) =>
  rows.map((row) => makeTokenizer(source.assets!(), 'test').decode(row));
const documents = (count: number, seed = 1) =>
  Array.from({ length: count }, (_, i) => {
    const rng = new Philox(seed).fork(i);
    const words = ['alpha', 'beta', 'gamma', 'delta', 'omega'];
    const chosen = Array.from({ length: 3 + rng.int(5) }, () => words[rng.int(5)]!);
    return [...chosen, `${seed}-${i}`].join(' ');
  });

/** Arguments of Node for a process that opens the training part with the built package, and prints a sum over it. */
function openArguments(): string[] {
  const script = join(folder, 'open.mjs');
  const entry = new URL('../dist/index.js', import.meta.url).href;
  writeFileSync(
    script,
    `import text from ${JSON.stringify(entry)};
    const source = await text.openData(JSON.parse(process.argv[2]), { split: 'train', cacheDir: process.argv[3], log() {} });
    let sum = 0;
    for (let i = 0; i < source.length; i++) for (const id of (await source.get(i)).tensors.source.data) sum += id;
    console.log(source.length, sum);`,
  );
  return [script, JSON.stringify(settings({})), join(folder, 'cache')];
}

/** Folders of prepared text that are not whole yet. */
function unfinished(): string[] {
  const text = join(folder, 'cache', 'text');
  return existsSync(text) ? readdirSync(text).filter((name) => /^[0-9a-f]+\.tmp-/.test(name)) : [];
}

describe('text of the user', () => {
  it('comes out as it went in, every document on one side', async () => {
    const lines = documents(200);
    write('a.txt', lines.slice(0, 100).join('\n\n'));
    write(
      'b.jsonl.gz',
      gzipSync(
        lines
          .slice(100)
          .map((line) => `${JSON.stringify({ text: line })}\n`)
          .join(''),
      ),
    );
    const [train, valid] = [
      await open('train', { sample_break_mode: 'eos' }),
      await open('valid', { sample_break_mode: 'eos' }),
    ];
    const whole = async (source: DataSource) => {
      const joined: string[] = [];
      let current: number[] = [];
      for (const row of await all(source)) {
        expect(row[0]).toBe(0);
        expect(row.length).toBeLessThanOrEqual(16);
        current.push(...row.slice(1));
        if (row.at(-1) !== 2) continue;
        joined.push(...textOf(source, [current]));
        current = [];
      }
      return joined;
    };
    const parts = [await whole(train), await whole(valid)];
    expect(parts.flat().sort()).toEqual([...lines].sort());
    expect(parts[1]!.length).toBeGreaterThan(5);
    expect(parts[1]!.length).toBeLessThan(50);
    const both = await open('all', { sample_break_mode: 'eos' });
    expect(both.length).toBe(train.length + valid.length);
    expect(await all(both)).toEqual([...(await all(train)), ...(await all(valid))]);
    expect([...both.sizes!()]).toEqual((await all(both)).map((row) => row.length));
    expect(both.describe(0)).toMatch(/^(a\.txt|b\.jsonl\.gz):\d+$/);
  });

  it('stays on its side when more is added', async () => {
    const eos = { sample_break_mode: 'eos', tokens_per_sample: 64 };
    write('a.txt', documents(60).join('\n\n'));
    const first = await open('valid', eos);
    const before = textOf(first, await all(first));
    write('b.txt', documents(60, 2).join('\n\n'));
    const second = await open('valid', eos);
    const after = textOf(second, await all(second));
    expect(after).toEqual(expect.arrayContaining(before));
    expect(after.length).toBeGreaterThan(before.length);
  });

  it('is packed into full blocks by default', async () => {
    write('a.txt', documents(50).join('\n'));
    const train = await open('train');
    const sizes = train.sizes!();
    expect(new Set(sizes.slice(0, -1))).toEqual(new Set([16]));
    const limited = await open('train', { limit: 3 });
    expect(limited.length).toBe(3);
    expect(limited.sizes!()).toHaveLength(3);
  });

  it('has the classes of its folders, also where they are held out', async () => {
    for (const name of ['cats', 'dogs', 'owls'])
      write(`${name}/x.txt`, documents(30, name.length).join('\n\n'));
    const train = await open('train', { label: 'top' });
    const valid = await open('valid', { label: 'top' });
    expect(train.classes).toEqual(['cats', 'dogs', 'owls']);
    expect(valid.classes).toEqual(train.classes);
    for (let i = 0; i < train.length; i++) {
      const { label } = await train.get(i, new Philox(1), 'eval');
      expect(train.describe(i).split('/')[0]).toBe(train.classes![label!]);
      expect(train.label!(i)).toBe(label);
    }
    const packed = await open('train', { label: 'top', sample_break_mode: 'none' });
    expect(packed.classes).toBeUndefined();
    expect((await packed.get(0, new Philox(1), 'eval')).label).toBeUndefined();
  });

  it('can be held out by a path of its own', async () => {
    write('a.txt', documents(20).join('\n'));
    const held = join(folder, 'held.txt');
    writeFileSync(held, documents(5, 3).join('\n'));
    const valid = await open('valid', { valid_path: held, sample_break_mode: 'eos' });
    expect(textOf(valid, await all(valid)).join('')).toBe(documents(5, 3).join(''));
    expect(
      (await open('train', { valid_path: held, sample_break_mode: 'eos' })).length,
    ).toBeGreaterThanOrEqual(20);
  });

  it('holds something out of very little, and says when there is too little', async () => {
    write('a.txt', 'one\n\ntwo\n\nthree\n');
    expect((await open('train')).length).toBeGreaterThan(0);
    expect((await open('valid')).length).toBeGreaterThan(0);
    write('a.txt', 'only one\n');
    expect((await open('train')).length).toBe(1);
    await expect(open('valid')).rejects.toThrow(
      /text: none of its text falls into the valid part: set data\.valid_path/,
    );
  });

  it.each([
    ['empty', ''],
    ['white space', ' \n\t\n'.repeat(10)],
  ])('of %s is an error', async (_, content) => {
    write('a.txt', content);
    await expect(open('train')).rejects.toThrow(/there is no text/);
    await expect(open('train', { tokenizer: 'gpt2', vocab_size: 50_262 })).rejects.toThrow(
      'text: there is no text in it',
    );
  });

  it('stops at damage beyond data.max_bad_share, and goes on below it', async () => {
    write('a.txt', documents(20).join('\n\n'));
    write('b.txt.gz', 'no gzip');
    await expect(open('train')).rejects.toThrow(/1 of 2 files are damaged, .*b\.txt\.gz cannot be read/);
    expect((await open('train', { max_bad_share: 0.5 })).length).toBeGreaterThan(0);
  });

  it('must suit the vocabulary of the model', async () => {
    write('a.txt', 'text');
    await expect(open('train', { tokenizer: 'gpt2' })).rejects.toThrow(
      'the tokenizer gpt2 has 50262 entries, data.vocab_size is 300',
    );
  });
});

describe('prepared text', () => {
  const prepared = () => logged.filter((line) => line.startsWith('prepared')).length;

  it('is made once, and again when text or settings change', async () => {
    const path = write('a.txt', documents(40).join('\n'));
    const first = await all(await open('train'));
    expect(prepared()).toBe(1);
    expect(await all(await open('train'))).toEqual(first);
    await open('train', { sample_break_mode: 'complete' });
    await open('train', { tokens_per_sample: 9 });
    expect(prepared()).toBe(1);
    await open('train', { vocab_size: 270 });
    expect(prepared()).toBe(2);
    // The same length, another content, another time.
    writeFileSync(path, documents(40).join('\n').replaceAll('alpha', 'omega'));
    utimesSync(path, new Date(), new Date(Date.now() + 5000));
    expect(await all(await open('train'))).not.toEqual(first);
    expect(prepared()).toBe(3);
  });

  it('is found again by what a checkpoint carries', async () => {
    write('a.txt', documents(40).join('\n'));
    const source = await open('train');
    const again = await open('train', {}, source.assets!());
    expect(prepared()).toBe(1);
    expect(await all(again)).toEqual(await all(source));
  });

  it('is whole although several processes make it at once', { timeout: 60_000 }, async () => {
    write('a.txt', documents(3000).join('\n\n'));
    const args = openArguments();
    const run = () => promisify(execFile)(process.execPath, args).then(({ stdout }) => stdout);
    const results = await Promise.all([run(), run(), run()]);
    expect(new Set(results).size).toBe(1);
    expect(unfinished()).toEqual([]);
  });

  it('is made anew after a process was killed while it made it', { timeout: 60_000 }, async () => {
    write('a.txt', documents(40_000).join('\n'));
    const child = execFile(process.execPath, openArguments());
    const end = new Promise<NodeJS.Signals | null>((resolve) =>
      child.once('exit', (_code, signal) => resolve(signal)),
    );
    while (unfinished().length === 0 && child.exitCode === null) await sleep(1);
    child.kill('SIGKILL');
    expect(await end).toBe('SIGKILL');
    const [left, ...others] = unfinished();
    expect(others).toEqual([]);
    expect(readdirSync(join(folder, 'cache', 'text', left!))).not.toContain('meta.json');
    expect(prepared()).toBe(0);

    // It may be another process's that is still at work, until it is a day old.
    const repaired = await all(await open('train'));
    expect([prepared(), unfinished()]).toEqual([1, [left]]);
    rmSync(join(folder, 'cache', 'text', left!.replace(/\.tmp-.*/, '')), { recursive: true });
    const old = new Date(Date.now() - 2 * 24 * 60 * 60 * 1000);
    utimesSync(join(folder, 'cache', 'text', left!), old, old);
    expect(await all(await open('train'))).toEqual(repaired);
    expect(unfinished()).toEqual([]);

    // And what was repaired is what was never interrupted.
    rmSync(join(folder, 'cache'), { recursive: true });
    expect(await all(await open('train'))).toEqual(repaired);
  });

  it('is no half folder after an error', async () => {
    write(
      'a.jsonl',
      `${documents(20)
        .map((line) => JSON.stringify({ text: line }))
        .join('\n')}\n{"no": 1}\n`,
    );
    await expect(open('train', { tokenizer: 'gpt2', vocab_size: 50_262 })).rejects.toThrow(
      /a\.jsonl:21 has no field/,
    );
    expect(readdirSync(join(folder, 'cache', 'text'))).toEqual([]);
  });

  it('says when it was cut off', async () => {
    write('a.txt', documents(40).join('\n'));
    await (await open('train')).close!();
    const text = join(folder, 'cache', 'text');
    const made = readdirSync(text).find((name) => !name.endsWith('.json'))!;
    const tokens = join(text, made, 'train.tokens');
    writeFileSync(tokens, readFileSync(tokens).subarray(0, 8));
    await expect(open('train').then(all)).rejects.toThrow(/is cut off: remove it, it is made again/);
    writeFileSync(join(text, made, 'meta.json'), '{}');
    await expect(open('train')).rejects.toThrow(/meta\.json is not what was written there/);
  });
});

describe('text to get features of', () => {
  it('is a sample per line, long ones in parts', async () => {
    write('a.txt', `short one\n\n${'word '.repeat(40)}\n`);
    const assets = (await open('train')).assets!();
    const source = await openTextInputs([join(folder, 'text', 'a.txt')], settings({}), { assets });
    const names = Array.from({ length: source.length }, (_, i) => source.describe(i));
    expect(names[0]).toBe('a.txt:1');
    expect(names[1]).toMatch(/^a\.txt:3 \(1\/\d+\)$/);
    expect(textOf(source, (await all(source)).slice(1)).join('')).toBe('word '.repeat(40).trim());
    expect([...source.sizes!()]).toEqual((await all(source)).map((row) => row.length));
  });

  it('needs a tokenizer, text, and files that can be read', async () => {
    const path = write('a.txt', 'x');
    await expect(openTextInputs([path], settings({}))).rejects.toThrow('name one with data.tokenizer');
    const named = settings({ tokenizer: 'gpt2' });
    await expect(openTextInputs([write('b.txt', ' \n')], named)).rejects.toThrow(
      /there is no text in .*b\.txt/,
    );
    expect((await openTextInputs([path], named)).length).toBe(1);
  });

  it('may be damaged: the file is one bad sample, the others are good', async () => {
    const record = `${JSON.stringify({ text: 'cut' })}\n`;
    write('a.txt', 'one\ntwo\n');
    write('b.txt', 'three\nf\0ur\n');
    write('c.txt', Buffer.from('caf\xe9', 'latin1'));
    write('d.jsonl.gz', gzipSync(record.repeat(1000)).subarray(0, 30));
    const log = (message: string) => logged.push(message);
    const named = settings({ tokenizer: 'gpt2' });
    const source = await openTextInputs([join(folder, 'text')], named, { log });
    const names = Array.from({ length: source.length }, (_, i) => source.describe(i));
    expect(names).toEqual(['a.txt:1', 'a.txt:2', 'b.txt', 'c.txt:1', 'd.jsonl.gz']);
    const random = new Philox(1);
    await expect(source.get(2, random, 'eval')).rejects.toThrow(/^b\.txt: .*b\.txt is no text/);
    await expect(source.get(2, random, 'eval')).rejects.toBeInstanceOf(BadSampleError);
    await expect(source.get(4, random, 'eval')).rejects.toThrow(/the gzip data is cut off/);
    expect((await source.get(1, random, 'eval')).id).toBe(1);
    expect(logged).toEqual([expect.stringMatching(/c\.txt: bytes that are no UTF-8/)]);
  });
});
