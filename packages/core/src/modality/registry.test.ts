import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defineModality } from './contract.js';
import { discoverModalities } from './discovery.js';
import { fakeModality } from './fake.js';
import { importModality, loadModality, loadPlugin, registerModality } from './registry.js';

let root: string;
beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'd2v-registry-')));
});
afterAll(() => rm(root, { recursive: true }));

async function put(path: string, content: string | object): Promise<void> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
}

/** The parts that a plugin must have; modalities of these tests compute nothing. */
const parts = `api: 1, moduleUrl: import.meta.url, configSchema: { safeParse() {} }, dataSchema: { safeParse() {} },
  createEncoder() {}, openData() {}, openInputs() {}, collate() {}, presets: { tiny: {} }, datasets: {}, supports: {}`;

/** A plugin package whose import leaves a mark, so that a test sees when it was imported. */
async function plugin(
  dir: string,
  modality: string,
  extra: { api?: number; code?: string; pkg?: object } = {},
) {
  const api = extra.api ?? 1;
  await put(`${dir}/package.json`, {
    name: dir.slice(dir.lastIndexOf('node_modules/') + 13),
    version: '1.2.3',
    type: 'module',
    keywords: ['d2v-modality'],
    d2v: { modality, api },
    exports: { '.': { types: './x.d.ts', import: './main.js' } },
    ...extra.pkg,
  });
  const code = `globalThis.imported = [...(globalThis.imported ?? []), ${JSON.stringify(dir)}];
export default { name: '${modality}', ${parts}, api: ${api} };`;
  await put(`${dir}/main.js`, extra.code ?? code);
}
const imported = () => (globalThis as { imported?: string[] }).imported ?? [];
const names = async (cwd: string) =>
  (await discoverModalities({ cwd: join(root, cwd) })).map((info) => info.modality);

describe('discovery', () => {
  it('finds dependencies of any name, conventional names and links, and imports nothing', async () => {
    await put('app/package.json', { dependencies: { odd: '1' }, devDependencies: { absent: '1' } });
    await plugin('app/node_modules/odd', 'odd');
    await plugin('app/node_modules/d2v-modality-tides', 'tides');
    await plugin('app/node_modules/@me/d2v-modality-radar', 'radar');
    await plugin('store/@d2v/modality-smell', 'smell');
    await mkdir(join(root, 'app/node_modules/@d2v'));
    await symlink(
      join(root, 'store/@d2v/modality-smell'),
      join(root, 'app/node_modules/@d2v/modality-smell'),
    );
    await put('app/node_modules/unrelated/package.json', { name: 'unrelated', keywords: ['d2v-modality'] });
    await put('app/node_modules/d2v-modality-broken/package.json', '{ not json');
    expect(await names('app')).toEqual(expect.arrayContaining(['odd', 'tides', 'radar', 'smell']));
    expect(await names('app')).not.toContain('unrelated');
    expect(await names('app/src/deep')).toContain('tides');
    expect(imported()).toEqual([]);
  });

  it('finds members of npm and pnpm workspaces and the package one stands in', async () => {
    await put('mono/package.json', { workspaces: ['packages/*'] });
    await put('mono/pnpm-workspace.yaml', 'packages:\n  - examples/*\n');
    await plugin('mono/packages/a', 'wa');
    await plugin('mono/examples/b', 'wb');
    expect(await names('mono')).toEqual(expect.arrayContaining(['wa', 'wb']));
    expect((await names('mono/examples/b'))[0]).toBe('wb');
  });
});

describe('loading', () => {
  it('imports only the one asked for', async () => {
    const modality = await loadModality('tides', { cwd: join(root, 'app') });
    expect(modality.name).toBe('tides');
    expect(imported()).toEqual(['app/node_modules/d2v-modality-tides']);
  });

  it('names what is installed when a modality is not', async () => {
    const load = loadModality('tide', { cwd: join(root, 'app') });
    await expect(load).rejects.toThrow('provides the modality "tide": did you mean "tides"?');
    const other = loadModality('zebra', { cwd: join(root, 'app') });
    await expect(other).rejects.toThrow(/\(installed: .*tides.*\): npm install its package/);
  });

  it('refuses another contract version before importing', async () => {
    await plugin('old/node_modules/d2v-modality-old', 'old', { api: 0 });
    await plugin('old/node_modules/d2v-modality-new', 'new', { api: 7 });
    const cwd = join(root, 'old');
    await expect(loadModality('old', { cwd })).rejects.toThrow(
      'plugin d2v-modality-old 1.2.3 was made for version 0 of the plugin contract, this @d2v/core has version 1: update the plugin',
    );
    await expect(loadModality('new', { cwd })).rejects.toThrow(/version 7 .*: update @d2v\/core$/);
    expect(imported()).toHaveLength(1);
  });

  it('explains plugins that do not load', async () => {
    await plugin('bad/node_modules/d2v-modality-throws', 'throws', {
      code: 'throw new Error("boom\\nat x")',
    });
    await plugin('bad/node_modules/d2v-modality-empty', 'empty', { code: 'export const x = 1' });
    await plugin('bad/node_modules/d2v-modality-unbuilt', 'unbuilt', {
      pkg: { exports: './dist/nowhere.js' },
    });
    await plugin('bad/node_modules/d2v-modality-outside', 'outside', { pkg: { exports: '../../../x.js' } });
    await plugin('bad/node_modules/d2v-modality-liar', 'liar', {
      code: `export default { name: 'other', ${parts} }`,
    });
    await plugin('bad/node_modules/d2v-modality-partial', 'partial', {
      code: `export default { name: 'partial', ${parts}, configSchema: undefined }`,
    });
    await plugin('bad/node_modules/d2v-modality-apart', 'apart');
    await put('bad/node_modules/d2v-modality-apart/node_modules/@d2v/core/package.json', {
      name: '@d2v/core',
    });
    const load = (name: string) => loadModality(name, { cwd: join(root, 'bad') });
    await expect(load('throws')).rejects.toThrow(
      /d2v-modality-throws 1\.2\.3 cannot be loaded: boom \(build/,
    );
    await expect(load('empty')).rejects.toThrow('exports no modality');
    await expect(load('unbuilt')).rejects.toThrow('does not exist (is it built?)');
    await expect(load('partial')).rejects.toThrow(
      'plugin d2v-modality-partial 1.2.3: modality "partial": configSchema must be a schema',
    );
    await expect(load('apart')).rejects.toThrow(
      /d2v-modality-apart 1\.2\.3 uses another copy of @d2v\/core \(.*apart.*\) than this program \(.*core\): run/,
    );
    expect(imported()).not.toContain('bad/node_modules/d2v-modality-apart');
    await expect(load('outside')).rejects.toThrow('lies outside its folder');
    await expect(load('liar')).rejects.toThrow('says modality "liar", its code says "other"');
  });

  it('takes --plugin as folder, file or package name, before installed ones', async () => {
    const cwd = join(root, 'app');
    await plugin('mine', 'tides');
    expect((await loadModality('tides', { cwd, plugins: ['../mine'] })).name).toBe('tides');
    expect(imported().at(-1)).toBe('mine');
    expect((await loadPlugin('../mine/main.js', { cwd })).name).toBe('tides');
    expect((await loadPlugin('@me/d2v-modality-radar', { cwd })).name).toBe('radar');
    await expect(loadPlugin('./nothing', { cwd })).rejects.toThrow('no such file or folder');
    await expect(loadPlugin('nothing', { cwd })).rejects.toThrow('(npm install nothing?)');
    await expect(loadPlugin('unrelated', { cwd })).rejects.toThrow('declares no modality');
  });

  it('imports by URL and knows registered ones', async () => {
    const url = pathToFileURL(join(root, 'mine/main.js')).href;
    expect((await importModality(url)).name).toBe('tides');
    registerModality(fakeModality);
    expect(await loadModality('fake', { cwd: root })).toBe(fakeModality);
  });
});

describe('defineModality', () => {
  it('says which part is wrong', () => {
    const define = (change: object) => () => defineModality({ ...fakeModality, ...change });
    expect(define({})).not.toThrow();
    expect(define({ name: 'Bad Name' })).toThrow('name must be lower case');
    expect(define({ moduleUrl: '/x' })).toThrow('moduleUrl must be import.meta.url');
    expect(define({ collate: 1 })).toThrow('collate must be a function');
    expect(define({ presets: {} })).toThrow('presets must have at least one');
    expect(define({ defaultPreset: 'x' })).toThrow('is not one of its presets (tiny, base)');
    expect(define({ configSchema: {} })).toThrow("configSchema must be a schema made with core's z");
  });
});
