import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { EXIT } from './failure.js';
import { main } from './program.js';

const CODE = `globalThis.pluginImported = true;
export default {
  name: 'smell', api: 1, moduleUrl: import.meta.url, configSchema: { safeParse() {} }, dataSchema: { safeParse() {} },
  createEncoder() {}, openData() {}, openInputs() {}, collate() {}, presets: { tiny: {} }, datasets: {}, supports: {},
  commands: [
    {
      name: 'nose calibrate',
      description: 'adjust a nose',
      arguments: [{ name: 'files', description: 'samples', variadic: true }],
      options: [
        { flags: '--how-long <s>', description: 'seconds', default: '5' },
        { flags: '--kind <k>', description: 'which', choices: ['fox', 'dog'], required: true },
        { flags: '--tag <t>', description: 'labels', repeatable: true },
      ],
      examples: ['nose calibrate rose.txt --kind dog'],
      async run(args, options, io) { io.print(JSON.stringify({ args, options })); },
    },
  ],
};`;

let root: string;
let before: string;
function plugin(folder: string, commands: object, code = CODE): string {
  const dir = join(root, folder);
  mkdirSync(dir, { recursive: true });
  const pkg = {
    name: folder.replace(/^node_modules\//, ''),
    version: '1.0.0',
    type: 'module',
    keywords: ['d2v-modality'],
    d2v: { modality: 'smell', api: 1, commands },
    exports: './main.js',
  };
  writeFileSync(join(dir, 'package.json'), JSON.stringify(pkg));
  writeFileSync(join(dir, 'main.js'), code);
  return dir;
}
beforeAll(() => {
  before = process.cwd();
  root = realpathSync(mkdtempSync(join(tmpdir(), 'd2v-plugin-commands-')));
  plugin('node_modules/d2v-modality-smell', { nose: 'noses and their care', train: 'never this one' });
  process.chdir(root);
});
afterAll(() => {
  process.chdir(before);
  rmSync(root, { recursive: true });
});

async function run(...args: string[]) {
  let out = '';
  const write = (text: unknown) => {
    out += String(text);
    return true;
  };
  const spies = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation(write),
  );
  const code = await main(args).finally(() => {
    for (const spy of spies) spy.mockRestore();
  });
  return { code, out };
}
const imported = () => (globalThis as { pluginImported?: boolean }).pluginImported === true;

it('are listed without importing the plugin, and never hide commands of ours', async () => {
  const { out, code } = await run('--help');
  expect(code).toBe(EXIT.ok);
  expect(out).toMatch(/Commands of installed modalities:\n\s+nose\s+noses and their care\n/);
  expect(out).not.toContain('never this one');
  expect((await run('train', '--help')).out).not.toContain('nose');
  expect((await run('noes')).out).toContain('(Did you mean nose?)');
  expect(imported()).toBe(false);
});

it('explain themselves', async () => {
  for (const args of [
    ['help', 'nose'],
    ['nose', '--help'],
  ]) {
    expect((await run(...args)).out).toMatch(/calibrate \[options\] <files\.\.\.>\s+adjust a nose/);
  }
  const { out } = await run('nose', 'calibrate', '--help');
  expect(out).toContain('--how-long <s>');
  expect(out).toContain('$ d2v nose calibrate rose.txt --kind dog');
});

it('get arguments and options by name', async () => {
  const { code, out } = await run(
    ...['nose', 'calibrate', 'a', 'b', '--kind', 'fox', '--tag', 'x', '--tag', 'y'],
  );
  expect(code).toBe(EXIT.ok);
  const options = { howLong: '5', kind: 'fox', tag: ['x', 'y'] };
  expect(JSON.parse(out)).toEqual({ args: { files: ['a', 'b'] }, options });
});

it('reject what they do not take', async () => {
  expect((await run('nose', 'calibrate', 'a')).out).toContain("required option '--kind <k>' not specified");
  expect((await run('nose', 'calibrate', 'a', '--kind', 'cat')).out).toContain(
    'Allowed choices are fox, dog',
  );
  expect((await run('nose', 'calibrate', '--kind', 'fox')).code).toBe(EXIT.usage);
});

it('come from --plugin, too, and must be there', async () => {
  const dir = plugin('elsewhere', { paw: 'paws' });
  const { code, out } = await run('paw', '--plugin', dir);
  expect(code).toBe(EXIT.failure);
  expect(out).toContain('lists the command "paw" in its package.json, but its code has none');
});
