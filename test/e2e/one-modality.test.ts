/** Who installs one modality has a whole program, and nothing of the others. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from './support/cli.js';
import { DATA } from './support/data.js';
import { builtAddon, install } from './support/install.js';

/** What each modality alone needs. */
const OWN: Record<string, string[]> = {
  audio: ['@wasm-audio-decoders/flac', '@wasm-audio-decoders/ogg-vorbis', 'mpg123-decoder', 'opus-decoder'],
  image: ['sharp'],
  text: ['@huggingface/tokenizers', 'gpt-3-encoder'],
};
const NAMES = Object.keys(OWN);

let parent: string;
beforeAll(() => {
  parent = mkdtempSync(join(tmpdir(), 'd2v-one-'));
});
afterAll(() => rmSync(parent, { recursive: true, force: true }));

describe.each(NAMES)('an installation with %s alone', (name) => {
  const others = NAMES.filter((other) => other !== name);
  let folder: string;
  let installed: Set<string>;
  beforeAll(() => {
    folder = join(parent, name);
    installed = install(folder, ['@d2v/cli', '@d2v/core', '@d2v/cuda-kernels', `@d2v/modality-${name}`]);
    DATA[name]!(join(folder, 'data'));
  });
  const d2v = (...args: string[]) =>
    runCli(args, {
      cwd: folder,
      bin: join(folder, 'node_modules', '@d2v', 'cli', 'dist', 'bin.js'),
      env: { ...process.env, D2V_NATIVE: builtAddon, D2V_DATA: join(folder, 'cache') },
    });

  it('holds nothing that only others need', () => {
    expect([...installed]).toEqual(expect.arrayContaining(OWN[name]!));
    for (const other of others) {
      expect(installed).not.toContain(`@d2v/modality-${other}`);
      for (const dependency of OWN[other]!) expect(installed).not.toContain(dependency);
    }
  });

  it('finds its modality and is well', async () => {
    const listed = await d2v('modalities', '--json');
    expect(JSON.parse(listed.stdout)).toMatchObject([{ modality: name }]);
    const doctor = await d2v('doctor', '--seconds', '0.05');
    expect(doctor.stdout).toMatch(new RegExp(`ok +modality +${name}:`));
    expect(doctor.code, doctor.stdout).toBe(0);
  });

  it('trains, and says what to install for another modality', async () => {
    const result = await d2v(
      'train',
      name,
      '--data',
      'data',
      '--run',
      'run',
      '--max-updates',
      '2',
      '--no-report',
    );
    expect(result.stderr).not.toMatch(/error| {4}at /);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stdout).toContain('2 updates');
    const [other] = others;
    const missing = await d2v('train', other!);
    expect(missing.stderr).toContain(`npm install its package, e.g. @d2v/modality-${other}`);
  });
});
