import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { FaultServer } from '../testing/fault-server.js';
import { FolderLock } from '../training/folder-lock.js';
import { lettersWith } from './__fixtures__/letters.js';
import { defineDataset, isManaged } from './define.js';
import { joinUrl } from './download/url.js';
import { ensureDataset, openDataset } from './open.js';
import { readOption } from './options.js';
import { downloadDataset, prepareDataset } from './prepare.js';
import { removeDataset } from './remove.js';
import { TarShards } from './shards/tar-shards.js';
import { datasetStats } from './stats.js';
import type { DatasetFile, DatasetOptions, ManagedDataset } from './types.js';
import { verifyDataset } from './verify.js';

// A busy disk takes its time to flush.
vi.setConfig({ testTimeout: 60_000 });

const letterOf = (split: string, className: string, i: number) =>
  Buffer.from(`${split} ${className} ${i} `.repeat(50 + ((i * 37) % 400)));
const { dataset: letters, archives: ARCHIVES } = lettersWith({
  classes: ['alpha', 'beta', 'gamma'],
  perClass: 40,
  letterOf,
});

/** Folders that cannot be written, whoever runs the tests. */
const readOnly = vi.hoisted(() => new Set<string>());
vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof import('node:fs/promises')>();
  const refused = (path: unknown) => [...readOnly].some((one) => String(path).startsWith(one));
  const guarded = (name: 'access' | 'writeFile' | 'rm' | 'rename' | 'link') =>
    vi.fn(async (...args: unknown[]) => {
      if (refused(args[0])) throw Object.assign(new Error('EROFS'), { code: 'EROFS' });
      return (fs[name] as (...args: unknown[]) => Promise<void>)(...args);
    });
  return {
    ...fs,
    access: guarded('access'),
    writeFile: guarded('writeFile'),
    rm: guarded('rm'),
    rename: guarded('rename'),
    link: guarded('link'),
  };
});

let root: string;
let cacheDir: string;
let server: FaultServer;
let said: string[];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-datasets-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  cacheDir = await mkdtemp(join(root, 'cache-'));
  server = await FaultServer.start();
  for (const [name, content] of Object.entries(ARCHIVES)) server.serve(`/${name}`, content);
  said = [];
});
afterEach(() => server.close());

const given = (more: DatasetOptions = {}): DatasetOptions => ({
  cacheDir,
  mirror: server.url(''),
  acceptTerms: true,
  backoffScale: 0.002,
  on: (event) => {
    if (event.type !== 'progress') said.push(event.message);
  },
  ...more,
});
const folder = () => join(cacheDir, 'datasets', 'letters');
/** The same dataset with parts of it replaced. */
const letters2 = (change: Partial<ManagedDataset>) => defineDataset({ ...letters, ...change });
const tree = async (path: string) =>
  (await readdir(path, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .sort();

describe('prepareDataset', () => {
  it('downloads, prepares, records and opens', async () => {
    const ready = await prepareDataset(letters, given());
    expect(ready.steps.map(({ key, counts }) => [key, counts.samples])).toEqual([
      ['train/alpha', 40],
      ['train/beta', 40],
      ['train/gamma', 40],
      ['valid/alpha', 40],
      ['valid/beta', 40],
      ['valid/gamma', 40],
    ]);
    const names = ready.steps.flatMap(({ files }) => files.map(({ name }) => name));
    expect(await tree(ready.folder)).toEqual([...names].sort());
    expect(await tree(join(folder(), 'raw'))).toEqual(['train.tar', 'valid.tar.gz']);
    for (const { name, bytes, sha256 } of ready.steps.flatMap(({ files }) => files)) {
      const content = await readFile(join(ready.folder, name));
      expect([content.length, createHash('sha256').update(content).digest('hex')]).toEqual([bytes, sha256]);
    }
    expect(await openDataset(letters, { cacheDir })).toEqual(ready);
    const tars = names.filter((name) => name.endsWith('.tar'));
    const shards = await TarShards.open(
      tars.map((name) => join(ready.folder, name)),
      { cacheDir },
    );
    expect([shards.length, shards.label(85), shards.key(85)]).toEqual([240, 2, 'gamma_5']);
    expect((await shards.read(85, 'txt'))?.toString()).toBe(letterOf('train', 'gamma', 5).toString());
    await shards.close();
  });

  it('does nothing twice, and adds splits to what is there', async () => {
    await prepareDataset(letters, given({ options: { splits: ['valid'] } }));
    expect(server.requests.map(({ path }) => path)).toEqual(['/valid.tar.gz']);
    const before = await stat(join(folder(), 'prepared', 'default', 'valid-alpha.tar'));
    const all = await prepareDataset(letters, given());
    expect(server.requests.map(({ path }) => path)).toEqual(['/valid.tar.gz', '/train.tar']);
    expect((await stat(join(all.folder, 'valid-alpha.tar'))).ino).toBe(before.ino);
    expect(await prepareDataset(letters, given())).toEqual(all);
    expect(server.requests).toHaveLength(2);
  });

  it('asks only for what an added split needs, once the raw files of the others are removed', async () => {
    await prepareDataset(letters, given({ options: { splits: ['valid'] } }));
    await removeDataset(letters, { cacheDir }, 'raw');
    const all = await prepareDataset(letters, given());
    expect(all.splits).toEqual(['train', 'valid']);
    expect(all.steps).toHaveLength(6);
    expect(server.requests.map(({ path }) => path)).toEqual(['/valid.tar.gz', '/train.tar']);
    expect(await tree(join(folder(), 'raw'))).toEqual(['train.tar']);
  });

  it('shows licence and terms once for files of the user, and asks nothing', async () => {
    const from = await mkdtemp(join(root, 'own-'));
    for (const [name, content] of Object.entries(ARCHIVES)) await writeFile(join(from, name), content);
    const own = given({ from, offline: true, acceptTerms: false });
    const terms = () => said.filter((line) => line.includes(letters.terms.trim()));
    await prepareDataset(letters, { ...own, options: { splits: ['valid'] } });
    expect(terms()).toEqual([`letters: ${letters.license}\n${letters.terms.trim()}`]);
    await prepareDataset(letters, own);
    expect(terms()).toHaveLength(1);
  });

  it('does a step again that failed, and none that did not', async () => {
    let made: string[] = [];
    const flaky = letters2({
      prepare: (context) =>
        letters.prepare({
          ...context,
          step: (key, make) =>
            context.step(key, async (output) => {
              made.push(key);
              if (key === 'train/beta' && made.length === 2) {
                await writeFile(join(output.folder, 'half'), 'x');
                throw new Error('power cut');
              }
              return make(output);
            }),
        }),
    });
    await expect(prepareDataset(flaky, given())).rejects.toThrow('power cut');
    await expect(openDataset(letters, { cacheDir })).rejects.toThrow(
      'letters is not prepared (prepared is default: ): run d2v data prepare letters',
    );
    made = [];
    const ready = await prepareDataset(flaky, given());
    expect(made).toEqual(['train/beta', 'train/gamma', 'valid/alpha', 'valid/beta', 'valid/gamma']);
    expect((await tree(ready.folder)).filter((name) => name.includes('half'))).toEqual([]);
  });

  it('prepares each set of options by itself, from the same downloads', async () => {
    const plain = await prepareDataset(letters, given({ options: { splits: 'train' } }));
    const upper = await prepareDataset(letters, given({ options: { splits: 'train', upper: true } }));
    expect(upper.folder).toBe(join(folder(), 'prepared', 'upper-true'));
    expect(server.requests).toHaveLength(1);
    expect((await openDataset(letters, { cacheDir, options: { splits: ['train'] } })).folder).toBe(
      plain.folder,
    );
    await rm(plain.folder, { recursive: true });
  });

  it('opens what there is where nothing is asked for', async () => {
    const made = await prepareDataset(letters, given({ options: { splits: 'train', upper: true } }));
    expect(await openDataset(letters, { cacheDir })).toEqual(made);
    expect(await ensureDataset(letters, given())).toEqual(made);
    await expect(openDataset(letters, { cacheDir, options: { splits: 'valid' } })).rejects.toThrow(
      /not prepared \(prepared is upper-true: train\): run d2v data prepare letters --splits valid/,
    );
  });

  it('prepares again for another version', async () => {
    const first = await prepareDataset(letters, given({ options: { splits: 'train' } }));
    const next = letters2({ version: 2 });
    await expect(openDataset(next, { cacheDir, options: { splits: 'train' } })).rejects.toThrow(
      'not prepared',
    );
    await prepareDataset(next, given({ options: { splits: 'train' } }));
    expect(said.join()).toContain('prepared by another version: preparing it again');
    expect(server.requests).toHaveLength(1);
    expect(await tree(first.folder)).toHaveLength(6);
  });

  it('uses archives of the user where they lie, once they are verified', async () => {
    const own = await mkdtemp(join(root, 'own-'));
    for (const [name, content] of Object.entries(ARCHIVES)) await writeFile(join(own, name), content);
    const ready = await prepareDataset(letters, given({ from: own, mirror: undefined, acceptTerms: false }));
    expect(ready.steps).toHaveLength(6);
    expect(await tree(folder()).then((names) => names.filter((name) => name.startsWith('raw')))).toEqual([]);
    expect((await datasetStats('letters', cacheDir))?.raw.files).toBe(2);
    await removeDataset(letters, { cacheDir });
    expect(await readdir(own)).toHaveLength(2);
    await writeFile(join(own, 'train.tar'), Buffer.alloc(ARCHIVES['train.tar']!.length));
    await expect(prepareDataset(letters, given({ from: own }))).rejects.toThrow(
      /own-.*train.tar is not the published train.tar of letters: its md5 is/,
    );
    await truncate(join(own, 'train.tar'), 100);
    await expect(prepareDataset(letters, given({ from: own }))).rejects.toThrow(
      /it has 100 bytes, published are/,
    );
  });

  it('takes files that were put into its folder, and fetches damaged ones again', async () => {
    await downloadDataset(letters, given({ options: { splits: 'valid' } }));
    await rm(join(folder(), 'dataset.json'));
    await downloadDataset(letters, given());
    expect(server.requests.map(({ path }) => path)).toEqual(['/valid.tar.gz', '/train.tar']);
    await truncate(join(folder(), 'raw', 'train.tar'), 1000);
    const files = await downloadDataset(letters, given());
    expect((await readFile(files.get('train.tar')!)).equals(ARCHIVES['train.tar']!)).toBe(true);
    expect(said.join()).toMatch(/train.tar is damaged \(it has 1000 bytes/);
  });

  it('fetches a download again that was changed after it was verified, and hashes no other twice', async () => {
    await downloadDataset(letters, given());
    const raw = join(folder(), 'raw', 'train.tar');
    const { mtime } = await stat(raw);
    const changed = Buffer.from(ARCHIVES['train.tar']!);
    changed.fill('#', 2000, 2002);
    await writeFile(raw, changed);
    await utimes(raw, mtime, mtime);
    const hashed: string[] = [];
    const on: DatasetOptions['on'] = (event) => {
      if (event.type === 'progress' && event.phase === 'verify') hashed.push(event.item);
      else if (event.type === 'warning') said.push(event.message);
    };
    const ready = await prepareDataset(letters, given({ on }));
    expect(said.join()).toMatch(/train.tar is damaged \(its md5 is/);
    expect(server.requests.map(({ path }) => path)).toEqual(['/train.tar', '/valid.tar.gz', '/train.tar']);
    expect(new Set(hashed)).toEqual(new Set(['train.tar']));
    const other = await prepareDataset(letters, given({ cacheDir: await mkdtemp(join(root, 'cache-')) }));
    expect(ready.steps).toEqual(other.steps);
  });

  it('refuses an archive of the user that was changed after it was verified, also while it is read', async () => {
    const from = await mkdtemp(join(root, 'own-'));
    const put = () => writeFile(join(from, 'train.tar'), ARCHIVES['train.tar']!);
    const spoil = () => writeFile(join(from, 'train.tar'), Buffer.alloc(ARCHIVES['train.tar']!.length));
    await put();
    const own = given({ from, options: { splits: 'train' } });
    await downloadDataset(letters, own);
    await spoil();
    await expect(prepareDataset(letters, own)).rejects.toThrow(
      /train.tar is not the published train.tar of letters: its md5 is .*; replace or remove it/,
    );
    await put();
    const late = letters2({
      prepare: async (ctx) => {
        await letters.prepare({
          ...ctx,
          step: (key, make) =>
            ctx.step(key, async (output) => {
              const counts = await make(output);
              if (key === 'train/beta') await spoil();
              return counts;
            }),
        });
      },
    });
    await expect(prepareDataset(late, own)).rejects.toThrow(
      /own-.*train.tar was changed while it was being read/,
    );
    await put();
    const recorded = JSON.parse(await readFile(join(folder(), 'dataset.json'), 'utf8'));
    expect(Object.keys(recorded.prepared.default.steps)).toEqual(['train/alpha']);
    expect((await prepareDataset(letters, own)).steps).toHaveLength(3);
  });

  it('asks for the terms before the first download, once', async () => {
    const refused = { ...given(), acceptTerms: false };
    await expect(prepareDataset(letters, refused)).rejects.toThrow(/letters has terms of use \(CC0\).*--yes/);
    const asked: string[] = [];
    const answer = (yes: boolean) => ({
      confirmTerms: async ({ name }: ManagedDataset) => {
        asked.push(name);
        return yes;
      },
    });
    await expect(downloadDataset(letters, { ...refused, ...answer(false) })).rejects.toThrow(
      'were not accepted',
    );
    expect(server.requests).toEqual([]);
    await downloadDataset(letters, { ...refused, ...answer(true), options: { splits: 'valid' } });
    await downloadDataset(letters, refused);
    expect(asked).toEqual(['letters', 'letters']);
  });

  it('says offline what is missing and where it goes', async () => {
    await expect(prepareDataset(letters, given({ offline: true }))).rejects.toThrow(
      `train.tar of letters is not here and the network is not to be used (offline): put it into ${join(folder(), 'raw')}, or name a folder that holds it with --from`,
    );
  });

  it('says that the folder of --from was searched', async () => {
    const from = join(root, 'empty');
    await mkdir(from, { recursive: true });
    await expect(prepareDataset(letters, given({ offline: true, from }))).rejects.toThrow(
      `train.tar of letters is not in ${from} (--from) nor here, and the network is not to be used (offline): put it into ${join(folder(), 'raw')}, or name another folder that holds it with --from`,
    );
  });

  it.runIf(process.platform === 'linux')('ends where no folder can be made', async () => {
    await expect(prepareDataset(letters, given({ cacheDir: '/proc/d2v' }))).rejects.toThrow(
      /^cannot use \/proc\/d2v\/datasets\/letters \(E[A-Z]+\): set D2V_DATA to a folder that you can write to/,
    );
  });

  it('checks the disk first', async () => {
    const huge = letters2({ preparedBytes: () => 2 ** 55 });
    await expect(prepareDataset(huge, given())).rejects.toThrow(
      /needs 32768 TB, the disk of .* has .* free: make room/,
    );
    expect(server.requests).toEqual([]);
    // Also when nothing is to be downloaded; finished steps count, and without an estimate the raw files do.
    await downloadDataset(letters, given());
    await expect(prepareDataset(huge, given())).rejects.toThrow(/needs 32768 TB/);
    const files: ManagedDataset['files'] = async (context) =>
      (await letters.files(context)).map((file) => ({ ...file, bytes: undefined, checksums: undefined }));
    await prepareDataset(letters, given({ options: { splits: 'valid' } }));
    const asked: (readonly string[])[] = [];
    const watched = letters2({ files, preparedBytes: (_, splits) => asked.push(splits) });
    await prepareDataset(watched, given());
    expect(asked).toEqual([['valid', 'train']]);
    await removeDataset(letters, { cacheDir });
    const vast = letters2({
      files: async (context) => (await letters.files(context)).map((file) => ({ ...file, bytes: 2 ** 53 })),
    });
    await expect(prepareDataset(vast, given({ options: { splits: 'valid' } }))).rejects.toThrow(
      /needs 16384 TB/,
    );
  });

  it('waits for another process, and says so', async () => {
    await downloadDataset(letters, given({ options: { splits: 'valid' } }));
    const lock = await FolderLock.acquire(folder(), 'test');
    const work = prepareDataset(letters, given());
    await vi.waitFor(() =>
      expect(said.join()).toMatch(/process \d+ is working on letters since .*: waiting for it/),
    );
    const other = prepareDataset(letters, given());
    await (lock as FolderLock).release();
    expect(await work).toEqual(await other);
    expect(server.requests.filter(({ path }) => path === '/train.tar')).toHaveLength(1);
  });

  it('stops between pieces of work when it is told to', async () => {
    const controller = new AbortController();
    const on: DatasetOptions['on'] = (event) => {
      if (event.type === 'progress' && event.phase === 'prepare' && event.item === 'train beta')
        controller.abort();
    };
    await expect(prepareDataset(letters, given({ on, signal: controller.signal }))).rejects.toThrow(/abort/i);
    expect(
      Object.keys(JSON.parse(await readFile(join(folder(), 'dataset.json'), 'utf8')).prepared.default.steps),
    ).toEqual(['train/alpha']);
    expect((await prepareDataset(letters, given())).steps).toHaveLength(6);
  });

  it('names options and splits that there are not', async () => {
    const fail = (options: Record<string, unknown>) =>
      expect(prepareDataset(letters, given({ options }))).rejects;
    await fail({ uper: true }).toThrow('options of letters: unknown key "uper" (did you mean "upper"?)');
    await fail({ upper: 3 }).toThrow('options of letters: upper must be true or false, not 3');
    await fail({ splits: 'tran' }).toThrow(
      'letters has no split "tran" (did you mean "train"?): there are train, valid',
    );
    await fail({ splits: [] }).toThrow('splits of letters must be a list of names');
    await fail({ splits: '' }).toThrow('splits of letters must be a list of names, of train, valid');
    await fail({ splits: 'quite another' }).toThrow(
      'letters has no split "quite another": there are train, valid',
    );
    expect(readOption(letters, 'upper', null)).toEqual({ upper: true });
    expect(() => readOption(letters, 'pause_ms', null)).toThrow(
      '--pause-ms needs a value behind it: a number',
    );
    expect(readOption(letters, 'pause_ms', '5')).toEqual({ pause_ms: 5 });
    expect(() => readOption(letters, 'uper', '5')).toThrow(
      '--uper: the dataset letters has no such option (did you mean "--upper"?) (it has --upper, --pause-ms)',
    );
    expect(() => readOption(letters, 'pause_ms', 'x')).toThrow('--pause-ms must be a number, not "x"');
  });

  it('gets lists of files from the network, and remembers them', async () => {
    server.serve('/list.json', JSON.stringify(['a.txt']));
    server.serve('/data/a.txt', 'hello');
    server.fault('/list.json', { kind: 'status', status: 503, times: 1 });
    const listed = letters2({
      splits: undefined,
      files: async ({ fetchText, mirror }): Promise<DatasetFile[]> =>
        (JSON.parse(await fetchText(joinUrl(mirror!, 'list.json'))) as string[]).map((name) => ({
          name: `sub/${name}`,
          urls: ['https://nowhere.invalid/a'],
          mirrorPath: `data/${name}`,
        })),
      async prepare({ step, files }) {
        await step('copy', async (output) => {
          await writeFile(join(output.folder, 'copy.txt'), await readFile(files[0]!.path));
          return { texts: 1 };
        });
      },
    });
    await expect(downloadDataset(listed, given({ offline: true }))).rejects.toThrow(
      /list of files of letters is not known yet/,
    );
    const files = await downloadDataset(listed, given());
    expect([...files.keys()]).toEqual(['sub/a.txt']);
    const ready = await prepareDataset(listed, given({ offline: true }));
    expect(ready.splits).toEqual(['all']);
    expect(await readFile(join(ready.folder, 'copy.txt'), 'utf8')).toBe('hello');
  });

  it('refuses what a plugin must not do', async () => {
    const naming = (name: string) =>
      letters2({ files: () => [{ name, urls: [server.url('/train.tar')] }], prepare: async () => {} });
    await expect(downloadDataset(naming('../../evil'), given())).rejects.toThrow('does not stay in');
    const writing = (steps: [string, string][]) =>
      letters2({
        prepare: async ({ step }) => {
          for (const [key, name] of steps) {
            await step(key, async ({ folder: target }) => {
              await writeFile(join(target, name), key);
              return {};
            });
          }
        },
      });
    await expect(
      prepareDataset(
        writing([
          ['a', 'x'],
          ['b', 'x'],
        ]),
        given(),
      ),
    ).rejects.toThrow('the steps "a" and "b" both write x');
    await expect(
      prepareDataset(
        writing([
          ['a', 'x'],
          ['a', 'y'],
        ]),
        given(),
      ),
    ).rejects.toThrow('step "a" is there twice');
    await expect(prepareDataset(writing([['../a', 'x']]), given())).rejects.toThrow('its key must be');
    expect(() => defineDataset({ ...letters, terms: '' })).toThrow('dataset "letters": terms must be a text');
    expect(() => defineDataset({ ...letters, options: {} as typeof letters.options })).toThrow(
      'options must be a schema',
    );
    expect([
      isManaged(letters),
      isManaged({ description: '', license: '', size: '' }),
      isManaged(undefined),
    ]).toEqual([true, false, false]);
  });

  it('does not use a manifest that cannot be understood', async () => {
    await downloadDataset(letters, given({ options: { splits: 'valid' } }));
    await writeFile(join(folder(), 'dataset.json'), '{"format": 1');
    await expect(prepareDataset(letters, given())).rejects.toThrow(
      /dataset.json is not what was written there: remove it and prepare the dataset again/,
    );
    await rm(join(folder(), 'dataset.json'));
    await downloadDataset(letters, given({ options: { splits: 'valid' } }));
    expect(server.requests).toHaveLength(1);
  });
});

describe('sources', () => {
  /** Letters that are also read from a folder `<from>/<split>` of texts, of which `fails` cannot be read. */
  const trees = (fails?: string) =>
    letters2({
      files: async (context) => {
        const listed = await letters.files(context);
        const there = context.from === null ? [] : await readdir(context.from);
        return listed.filter(({ name }) => !there.some((split) => name.startsWith(split)));
      },
      inputs: async (from, split) => ((await readdir(from)).includes(split) ? [join(from, split)] : []),
      prepare: async ({ splits, files, from, step }) => {
        for (const split of splits) {
          const archive = files.find(({ name }) => name.startsWith(split));
          const names = archive ? ['all'] : await readdir(join(from!, split));
          for (const name of names.sort()) {
            await step(`${split}/${name}`, async (output) => {
              if (name === fails) throw new Error('power cut');
              const content = await readFile(archive?.path ?? join(from!, split, name));
              await writeFile(join(output.folder, `${split}-${name}`), content);
              return { texts: 1 };
            });
          }
        }
      },
    });
  const treeOf = async (content: string, splits = ['train', 'valid']) => {
    const path = await mkdtemp(join(root, 'tree-'));
    for (const split of splits) {
      await mkdir(join(path, split));
      for (const name of ['a', 'b']) await writeFile(join(path, split, name), content);
    }
    return path;
  };
  const recorded = async () =>
    JSON.parse(await readFile(join(folder(), 'dataset.json'), 'utf8')).prepared.default;

  it('are recorded: published files with their checksums, trees with a digest of names and sizes', async () => {
    const from = await treeOf('text', ['train']);
    await prepareDataset(trees(), given({ from }));
    const { sources, archives } = await recorded();
    expect(sources).toEqual({
      train: {
        kind: 'tree',
        path: from,
        files: 2,
        bytes: 8,
        sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
      valid: { kind: 'published' },
    });
    const content = ARCHIVES['valid.tar.gz']!;
    expect(archives).toEqual({
      'valid.tar.gz': {
        bytes: content.length,
        checksums: { md5: createHash('md5').update(content).digest('hex') },
      },
    });
  });

  it('that are others do not count as prepared; the same tree does, wherever it lies', async () => {
    const [first, second, moved] = [await treeOf('text'), await treeOf('other text'), await treeOf('text')];
    const ready = await prepareDataset(trees(), given({ from: first }));
    expect(await prepareDataset(trees(), given({ from: moved }))).toEqual(ready);
    // Nothing is asked for: what is there is taken.
    expect(await ensureDataset(trees(), given())).toEqual(ready);
    for (const work of [prepareDataset, ensureDataset]) {
      await expect(work(trees(), given({ from: second }))).rejects.toThrow(
        `letters: train was prepared from the folder ${first}, not from the folder ${second}: use --from ${first}, or remove what is prepared ("d2v data rm letters")`,
      );
    }
    await writeFile(join(first, 'valid', '.hidden'), 'by some program');
    expect(await prepareDataset(trees(), given({ from: first }))).toEqual(ready);
    await writeFile(join(first, 'valid', 'c'), 'more');
    await expect(prepareDataset(trees(), given({ from: first }))).rejects.toThrow(
      /tree-\S+ has other files now \(3 files, 12 bytes\) than when valid was prepared from it \(2 files, 8 bytes\)/,
    );
    await removeDataset(trees(), { cacheDir });
    await prepareDataset(trees(), given({ from: second }));
  });

  it('of one preparation are not mixed when it goes on', async () => {
    const [first, second] = [await treeOf('text'), await treeOf('other text')];
    await expect(prepareDataset(trees('b'), given({ from: first }))).rejects.toThrow('power cut');
    await expect(prepareDataset(trees(), given({ from: second }))).rejects.toThrow(/train was prepared from/);
    await expect(prepareDataset(trees(), given())).rejects.toThrow(
      `train was prepared from the folder ${first}, not from the published files: use --from ${first}`,
    );
    const ready = await prepareDataset(trees(), given({ from: first }));
    for (const { files } of ready.steps)
      for (const { name } of files) expect(await readFile(join(ready.folder, name), 'utf8')).toBe('text');
    expect(server.requests).toEqual([]);
  });

  it('may change as long as nothing is made of them, and from split to split', async () => {
    const [first, second] = [await treeOf('text', ['train']), await treeOf('other text', ['valid'])];
    await expect(
      prepareDataset(trees('a'), given({ from: first, options: { splits: 'train' } })),
    ).rejects.toThrow('power cut');
    await prepareDataset(
      trees(),
      given({ from: await treeOf('text 2', ['train']), options: { splits: 'train' } }),
    );
    await prepareDataset(trees(), given({ from: second, options: { splits: 'valid' } }));
    expect((await recorded()).complete).toEqual(['train', 'valid']);
    const published = letters2({ version: 2 });
    expect((await prepareDataset(published, given())).steps).toHaveLength(6);
    await expect(prepareDataset({ ...trees(), version: 2 }, given({ from: second }))).rejects.toThrow(
      /valid was prepared from the published files, not from .*: leave --from out/,
    );
  });

  it('without checksums are not mixed either', async () => {
    const bare = (fails?: string) => ({
      ...trees(fails),
      files: async () => ['train', 'valid'].map((name) => ({ name, urls: [] })),
      inputs: undefined,
    });
    const prepared = (fails: string | undefined, from: string) =>
      prepareDataset(
        letters2({
          ...bare(),
          prepare: async ({ splits, raw, step }) => {
            for (const split of splits) {
              await step(split, async (output) => {
                if (split === fails) throw new Error('power cut');
                await writeFile(join(output.folder, split), await readFile(raw(split)));
                return { texts: 1 };
              });
            }
          },
        }),
        given({ from }),
      );
    const folderOf = async (text: string) => {
      const path = await mkdtemp(join(root, 'bare-'));
      for (const split of ['train', 'valid']) await writeFile(join(path, split), text);
      return path;
    };
    const [first, second] = [await folderOf('text'), await folderOf('TEXT')];
    await expect(prepared('valid', first)).rejects.toThrow('power cut');
    await expect(prepared(undefined, second)).rejects.toThrow(
      `${join(second, 'train')} is another file than the train that its preparation was begun with: put that one back`,
    );
    expect((await prepared(undefined, first)).steps).toHaveLength(2);
  });

  it('that a plugin reads without saying so are refused', async () => {
    const silent = letters2({ files: () => [], prepare: async () => {} });
    await expect(prepareDataset(silent, given({ from: await treeOf('x') }))).rejects.toThrow(
      /dataset letters: it reads a folder .* does not say what of it \(inputs\)/,
    );
  });
});

describe('deleted files', () => {
  it('of a variant are made again by whoever asks for no other', async () => {
    const options = { splits: 'train', upper: true };
    const ready = await prepareDataset(letters, given({ options }));
    await rm(join(ready.folder, 'train-beta.tar'));
    expect(await ensureDataset(letters, given())).toEqual(ready);
    await truncate(join(ready.folder, 'train-alpha.tar'), 3);
    expect((await verifyDataset(letters, given())).problems).toHaveLength(1);
    expect(await ensureDataset(letters, given())).toEqual(ready);
    expect(server.requests.map(({ path }) => path)).toEqual(['/train.tar']);
    expect(await readdir(join(folder(), 'prepared'))).toEqual(['upper-true']);
  });

  it('are made again, and nothing else', async () => {
    const ready = await prepareDataset(letters, given());
    await rm(join(ready.folder, 'train-beta.tar'));
    const kept = await stat(join(ready.folder, 'train-alpha.tar'));
    await expect(openDataset(letters, { cacheDir })).rejects.toThrow('letters is not prepared');
    // Of another split than the one that is asked for: that one stays to be made.
    const valid = await prepareDataset(letters, given({ options: { splits: 'valid' } }));
    expect(valid.steps).toHaveLength(5);
    expect((await verifyDataset(letters, given())).problems).toMatchObject([
      { kind: 'prepared', file: ready.folder, problem: expect.stringContaining('train is not complete') },
    ]);
    expect(await ensureDataset(letters, given({ options: { splits: ['train', 'valid'] } }))).toEqual(ready);
    expect((await stat(join(ready.folder, 'train-alpha.tar'))).ino).toBe(kept.ino);
    await truncate(join(ready.folder, 'valid-beta.tar.idx'), 3);
    expect(await prepareDataset(letters, given())).toEqual(ready);
    expect((await verifyDataset(letters, given())).problems).toEqual([]);
  });
});

describe('mirrors', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('also come from the environment, where nobody else sees their credentials', async () => {
    vi.stubEnv('D2V_MIRROR_LETTERS', server.url('').replace('http://', 'http://me:secret@'));
    await downloadDataset(letters, given({ mirror: undefined, options: { splits: 'valid' } }));
    const [request] = server.requests;
    expect(request).toMatchObject({ path: '/valid.tar.gz' });
    expect(request!.authorization).toBe(`Basic ${Buffer.from('me:secret').toString('base64')}`);
    expect(await readFile(join(folder(), 'dataset.json'), 'utf8')).not.toContain('secret');
    vi.stubEnv('D2V_MIRROR_LETTERS', 'nonsense');
    await downloadDataset(letters, given({ options: { splits: 'train' } }));
    await rm(folder(), { recursive: true });
    await expect(downloadDataset(letters, given({ mirror: undefined }))).rejects.toThrow(
      'the environment variable D2V_MIRROR_LETTERS must be a URL that begins with https:// or http://',
    );
  });

  it('are checked before terms are accepted and downloads announced', async () => {
    await expect(downloadDataset(letters, given({ mirror: 'nonsense' }))).rejects.toThrow(
      /^--mirror must be a URL/,
    );
    expect(said).toEqual([]);
    await expect(readFile(join(folder(), 'dataset.json'))).rejects.toThrow('ENOENT');
  });

  it('get no token that cannot be one', async () => {
    for (const token of ['hf_abc\n', 'hf_abc\r\nX-Evil: 1', 'two words', 'ä']) {
      await expect(downloadDataset(letters, given({ token }))).rejects.toThrow(
        /the access token holds a line break, a space or another character/,
      );
    }
    expect(server.requests).toEqual([]);
  });
});

describe('verifyDataset', () => {
  it('compares what it cannot write, without a lock, and leaves it as it is', async () => {
    const ready = await prepareDataset(letters, given());
    const before = await readFile(join(folder(), 'dataset.json'), 'utf8');
    await truncate(join(ready.folder, 'train-beta.tar'), 5);
    await truncate(join(folder(), 'raw', 'train.tar'), 5);
    const all = await tree(folder());
    // As another user would see it: root may write whatever the modes say.
    readOnly.add(folder());
    try {
      const { problems } = await verifyDataset(letters, given());
      expect(problems.map(({ problem }) => problem)).toEqual([
        expect.stringMatching(/^it has 5 bytes .*: replace it$/),
        expect.stringMatching(/^it has 5 bytes/),
      ]);
    } finally {
      readOnly.clear();
    }
    expect(said.join()).toContain('cannot be written: its files are compared, and nothing is struck off');
    expect(await readFile(join(folder(), 'dataset.json'), 'utf8')).toBe(before);
    expect(await tree(folder())).toEqual(all);
  });

  it('says that nothing is here, and leaves nothing', async () => {
    await expect(verifyDataset(letters, given())).rejects.toThrow(
      'nothing is here of letters: d2v data prepare letters',
    );
    expect(await readdir(cacheDir)).toEqual([]);
  });

  it('says that nothing is prepared where a preparation has failed, or its record is gone', async () => {
    await expect(prepareDataset(letters, given({ mirror: server.url('/nowhere') }))).rejects.toThrow();
    await expect(verifyDataset(letters, given())).rejects.toThrow('nothing is here of letters: d2v data');
    const { folder: prepared } = await prepareDataset(letters, given());
    await rm(join(folder(), 'dataset.json'));
    const nothing = `dataset.json has no record of what lies in ${join(prepared, '..')}, which cannot be checked: d2v data prepare letters`;
    await expect(verifyDataset(letters, given())).rejects.toThrow(nothing);
    await rm(join(folder(), 'raw'), { recursive: true });
    await expect(prepareDataset(letters, given({ mirror: server.url('/nowhere') }))).rejects.toThrow();
    await expect(verifyDataset(letters, given())).rejects.toThrow(nothing);
  });

  it('has the archives of damaged splits brought again, and no others', async () => {
    const ready = await prepareDataset(letters, given());
    await removeDataset(letters, { cacheDir }, 'raw');
    const victim = join(ready.folder, 'train-beta.tar');
    const content = await readFile(victim);
    content[700]! ^= 1;
    await writeFile(victim, content);
    expect((await verifyDataset(letters, given())).problems).toHaveLength(1);
    expect((await verifyDataset(letters, given())).problems).toMatchObject([
      { problem: expect.stringContaining('the split train is not complete') },
    ]);
    expect((await datasetStats('letters', cacheDir))?.prepared).toMatchObject([
      { splits: ['valid'], damaged: ['train'] },
    ]);
    server.requests.length = 0;
    expect(await prepareDataset(letters, given())).toEqual(ready);
    expect(server.requests.map(({ path }) => path)).toEqual(['/train.tar']);
  });

  it('reports a preparation that was not finished', async () => {
    const broken = letters2({ prepare: () => Promise.reject(new Error('power cut')) });
    await expect(prepareDataset(broken, given())).rejects.toThrow('power cut');
    expect((await verifyDataset(letters, given())).problems).toMatchObject([
      { problem: 'its preparation is not finished' },
    ]);
  });

  it('finds what is damaged or missing, and the next preparation mends only that', async () => {
    const ready = await prepareDataset(letters, given());
    expect(await verifyDataset(letters, given())).toMatchObject({ files: 14, problems: [] });
    const victim = join(ready.folder, 'train-beta.tar');
    const content = await readFile(victim);
    content[700]! ^= 1;
    await writeFile(victim, content);
    await rm(join(ready.folder, 'valid-gamma.tar.idx'));
    const raw = join(folder(), 'raw', 'train.tar');
    await truncate(raw, 5);
    const untouched = await stat(join(ready.folder, 'train-alpha.tar'));
    const { problems } = await verifyDataset(letters, given());
    expect(problems.map(({ file, problem }) => [file, problem.slice(0, 14)]).sort()).toEqual(
      [
        [raw, 'it has 5 bytes'],
        [victim, 'its sha256 is '],
        [join(ready.folder, 'valid-gamma.tar.idx'), 'it is missing'],
      ].sort(),
    );
    await expect(openDataset(letters, { cacheDir })).rejects.toThrow('not prepared');
    // Until they are made again, and no longer.
    expect((await verifyDataset(letters, given())).problems.map(({ problem }) => problem)).toEqual(
      ['train', 'valid'].map((split) => expect.stringContaining(`the split ${split} is not complete`)),
    );
    expect(await prepareDataset(letters, given())).toEqual(ready);
    expect((await stat(join(ready.folder, 'train-alpha.tar'))).ino).toBe(untouched.ino);
    expect((await verifyDataset(letters, given())).problems).toEqual([]);
  });
});

describe('removeDataset and datasetStats', () => {
  it('let those go on that wait for the lock', async () => {
    await downloadDataset(letters, given({ options: { splits: 'valid' } }));
    const lock = (await FolderLock.acquire(folder(), 'test')) as FolderLock;
    const waiting = prepareDataset(letters, given());
    const removing = removeDataset(letters, { cacheDir });
    await vi.waitFor(() => expect(said.join()).toContain('waiting for it'));
    await rm(folder(), { recursive: true });
    expect(typeof (await removing)).toBe('boolean');
    expect((await waiting).steps).toHaveLength(6);
    await lock.release();
    expect((await prepareDataset(letters, given())).steps).toHaveLength(6);
    const [one, two] = await Promise.all([
      removeDataset(letters, { cacheDir }),
      removeDataset(letters, { cacheDir }),
    ]);
    expect([one, two].sort()).toEqual([false, true]);
    expect(await readdir(join(cacheDir, 'datasets'))).toEqual([]);
  });

  it('know what is there', async () => {
    expect(await datasetStats('letters', cacheDir)).toBeNull();
    expect(await removeDataset(letters, { cacheDir })).toBe(false);
    await prepareDataset(letters, given());
    const found = await datasetStats('letters', cacheDir);
    expect(found).toMatchObject({
      raw: { files: 2 },
      prepared: [{ variant: 'default', splits: ['train', 'valid'], files: 12 }],
    });
    expect(found?.prepared[0]?.counts.samples).toBe(240);
    expect(await removeDataset(letters, { cacheDir }, 'raw')).toBe(true);
    expect((await datasetStats('letters', cacheDir))?.raw).toEqual({ files: 0, bytes: 0 });
    expect((await prepareDataset(letters, given({ offline: true }))).steps).toHaveLength(6);
    expect(await removeDataset(letters, { cacheDir })).toBe(true);
    expect(await readdir(join(cacheDir, 'datasets'))).toEqual([]);
  });
});
