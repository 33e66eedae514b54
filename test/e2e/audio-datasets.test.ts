/** Datasets of sound with the real command: from a server's archives to a trained model with one command each. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeTar } from '@d2v/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  archiveOf,
  librispeechArchives,
  librispeechFiles,
  speechCommandsFiles,
  spoken,
} from '../../packages/modality-audio/src/datasets/__fixtures__/corpora.js';
import { expectUpdates, metrics, runCleanly, trainModality } from './support/cli.js';
import { type Copies, serveCopies } from './support/copies.js';

const PLUGIN = fileURLToPath(new URL('support/small-audio.mjs', import.meta.url));

let copies: Copies;
let folder: string;
let server: Copies['server'];
beforeAll(async () => {
  const librispeech = librispeechArchives();
  const commands = archiveOf(speechCommandsFiles());
  const stated = ({ bytes, checksums }: typeof commands) => ({ bytes, checksums, description: 'for tests' });
  const splits = Object.entries(librispeech);
  const files = {
    ...Object.fromEntries(splits.map(([split, { content }]) => [`/${split}.tar.gz`, content])),
    '/speech_commands_v0.02.tar.gz': commands.content,
  };
  copies = await serveCopies('audio-datasets', files, {
    librispeech: Object.fromEntries(
      splits.map(([split, archive]) => [split, { ...stated(archive), default: split !== 'test-clean' }]),
    ),
    speechCommands: stated(commands),
  });
  ({ folder, server } = copies);
});
afterAll(() => copies.close());

const d2v = (...args: string[]) => runCleanly(args, { cwd: folder });

const SETTINGS = [
  'model.depth=1',
  'model.average_top_k_layers=1',
  'model.modalities.audio.feature_encoder_spec=[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(32, 2, 2)]',
  'model.modalities.audio.conv_pos_groups=4',
  'model.modalities.audio.conv_pos_depth=2',
  'model.modalities.audio.decoder.decoder_dim=32',
  'model.modalities.audio.decoder.decoder_groups=4',
  'model.modalities.audio.decoder.decoder_layers=2',
  'data.min_sample_size=4000',
  'data.max_sample_size=8000',
  'data.num_workers=1',
  'optimization.max_update=20',
  'lr_scheduler.warmup_updates=2',
  'common.log_interval=5',
];

const train = (data: string, run: string, ...more: string[]) =>
  d2v(...trainModality('audio', run, data, SETTINGS), '--plugin', PLUGIN, ...more);

describe('librispeech', () => {
  it('is downloaded, prepared and learned from with one command', async () => {
    server.fault('/train-clean-100.tar.gz', { kind: 'cut', at: 40_000, times: 2 });
    server.fault('/dev-clean.tar.gz', { kind: 'status', status: 503, retryAfter: 0, times: 1 });
    const refused = await train('librispeech', 'none', '--mirror', server.url(''));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/librispeech has terms of use .*--yes/);
    const result = await train('librispeech', 'speech', '--mirror', server.url(''), '--yes');
    expect(result.code, result.stderr).toBe(0);
    expect(result.stdout).toContain('V. Panayotov');
    expectUpdates(join(folder, 'speech'), 20);
    // Again, without anything to be had from the network.
    const again = await train('librispeech', 'speech-2', '--offline', '--set', 'optimization.max_update=20');
    expect(again.code, again.stderr).toBe(0);
    expect(metrics(join(folder, 'speech-2'))).toEqual(metrics(join(folder, 'speech')));
  });

  it('is verified, shown, extended by a split, and what is said stands in the index of embeddings', async () => {
    const plugin = ['--plugin', PLUGIN];
    const verified = await d2v('data', 'verify', 'librispeech', ...plugin);
    expect(verified.code, verified.stderr).toBe(0);
    expect(verified.stdout).toMatch(/all as they should be/);
    const more = ['--splits', 'test-clean', '--mirror', server.url('')];
    const prepared = await d2v('data', 'prepare', 'librispeech', ...more, ...plugin);
    expect(prepared.code, prepared.stderr).toBe(0);
    const stats = await d2v('data', 'stats', 'librispeech', '--json', ...plugin);
    expect((await d2v('data', 'stats', 'librispeech', ...plugin)).stdout).not.toMatch(/^ +(groups|ends):/m);
    expect(JSON.parse(stats.stdout).prepared[0].splits).toEqual([
      'dev-clean',
      'test-clean',
      'train-clean-100',
    ]);
    const embedded = await d2v('embed', 'speech', 'librispeech', '-o', 'features.jsonl', ...plugin);
    expect(embedded.code, embedded.stderr).toBe(0);
    const lines = readFileSync(join(folder, 'features.jsonl'), 'utf8').trim().split('\n');
    // Of the splits that are taken by default; each line says what is heard in it.
    expect(lines).toHaveLength(40);
    for (const line of lines) {
      const [, id] = /(\d+-\d+-\d{4})/.exec(line)!;
      expect(JSON.parse(line).name).toBe(`${id} "${spoken(id!)}"`);
    }
  });
});

describe('speech-commands', () => {
  it('is downloaded, prepared and learned from with one command, and scored by its words', async () => {
    const result = await train('speech-commands', 'words', '--mirror', server.url(''), '--yes');
    expect(result.code, result.stderr).toBe(0);
    expectUpdates(join(folder, 'words'), 20);
    expect(result.stdout).toMatch(/kNN/);
  });
});

describe('tar shards of the user', () => {
  it('are learned from where they lie', async () => {
    mkdirSync(join(folder, 'shards'));
    const sounds = librispeechFiles('train-clean-100').filter(({ path }) => path.endsWith('.flac'));
    const named = sounds.map(({ path, content }) => ({ path: path.split('/').at(-1)!, content }));
    for (const [i, part] of [named.slice(0, 14), named.slice(14)].entries()) {
      const files = part.flatMap((file, n) => [
        file,
        { path: file.path.replace('.flac', '.cls'), content: String(n % 2) },
      ]);
      writeFileSync(join(folder, 'shards', `sounds-${i}.tar`), makeTar(files));
    }
    const result = await train('shards', 'own', '--set', 'data.valid_share=0.3');
    expect(result.code, result.stderr).toBe(0);
    expectUpdates(join(folder, 'own'), 20);
    writeFileSync(
      join(folder, 'shards', 'sounds-1.tar'),
      makeTar([{ path: '../evil.flac', content: readFileSync(PLUGIN) }]),
    );
    const hostile = await train('shards', 'hostile');
    expect(hostile.code).toBe(1);
    expect(hostile.stderr).toMatch(/sounds-1\.tar: the entry "\.\.\/evil\.flac" leads out of its folder/);
  });
});
