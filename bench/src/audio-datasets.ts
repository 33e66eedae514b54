/**
 * Speed of LibriSpeech's preparation and of reading clips from its shards:
 *
 *   pnpm --filter @d2v/bench exec tsx src/audio-datasets.ts dev-clean.tar.gz
 *
 * beside `tar xzf`, `gzip -dc` and `flac -t` of the same sounds. Any archive with the layout of LibriSpeech's will do; its name
 * is that of a split.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { downloadDataset, Philox, prepareDataset, resolveConfig } from '@d2v/core';
import audio, { librispeechWith } from '@d2v/modality-audio';

const [archive = ''] = process.argv.slice(2);
const path = resolve(archive);
const split = basename(path, '.tar.gz');
const { size: bytes } = await stat(path);
const folder = await mkdtemp(join(tmpdir(), 'd2v-bench-'));

const seconds = async (work: () => unknown): Promise<number> => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
};
const shell = (command: string) => () => execFileSync('bash', ['-c', command], { stdio: 'ignore' });
const show = (what: string, time: number, sounds: number) =>
  console.log(
    `${what.padEnd(32)} ${time.toFixed(2).padStart(7)} s ${(bytes / 1e6 / time).toFixed(0).padStart(6)} MB/s ${(sounds / time).toFixed(0).padStart(7)} files/s`,
  );

try {
  const hash = createHash('md5');
  for await (const part of createReadStream(path)) hash.update(part);
  const dataset = librispeechWith({
    [split]: { bytes, checksums: { md5: hash.digest('hex') }, description: 'measured' },
  });
  const options = { cacheDir: folder, from: dirname(path), acceptTerms: true };
  // Its checksum is compared before the clock runs.
  await downloadDataset(dataset, options);
  const before = process.cpuUsage();
  const prepared = await seconds(() => prepareDataset(dataset, options));
  const { user, system } = process.cpuUsage(before);
  const ready = await prepareDataset(dataset, options);
  const sounds = ready.steps.reduce((sum, { counts }) => sum + (counts.sounds ?? 0), 0);
  console.log(`${split}: ${sounds} sounds, ${(bytes / 1e6).toFixed(0)} MB`);
  show('archive -> shards, manifests', prepared, sounds);
  console.log(`  of it ${((user + system) / 1e6).toFixed(2)} s of one core, all threads together`);
  show('gzip -dc', await seconds(shell(`gzip -dc '${path}' > /dev/null`)), sounds);
  show('tar xzf', await seconds(shell(`mkdir '${folder}/x' && tar xzf '${path}' -C '${folder}/x'`)), sounds);
  show(
    'flac -t, one process',
    await seconds(shell(`find '${folder}/x' -name '*.flac' -print0 | xargs -0 flac -ts`)),
    sounds,
  );
  const config = resolveConfig({ modality: audio, preset: 'tiny', layers: [] });
  const data: Parameters<typeof audio.openData>[0] = {
    ...audio.dataSchema.parse({}),
    ...config.data,
    dataset: 'librispeech',
    dataset_options: { splits: [split] },
    min_sample_size: 1600,
    max_sample_size: 16_000,
  };
  let source = await audio.openData(data, { split: 'all', cacheDir: folder, log: () => undefined });
  const opened = await seconds(async () => {
    source = await audio.openData(data, { split: 'all', cacheDir: folder, log: () => undefined });
  });
  console.log(`opened ${source.length} clips in ${(1000 * opened).toFixed(0)} ms`);
  const rng = new Philox(1);
  let heard = 0;
  const read = await seconds(async () => {
    for (let i = 0; i < 1000; i++) {
      const { tensors } = await source.get(rng.int(source.length), rng.fork(i), 'train');
      heard += tensors.source!.data.length / 16_000;
    }
  });
  console.log(
    `clips of a second at random, one thread: ${(1000 / read).toFixed(0)} clips/s, ${(heard / read).toFixed(0)} s of sound per second`,
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
