/**
 * How fast text becomes token shards, and how fast blocks of them are read: `pnpm --filter @d2v/modality-text bench 10` (needs the
 * programs tar and xz; the number says how many times the text is taken). The text is English (the built-in addresses and definitions) in documents of the size that OpenWebText's
 * have, packed as it is: tars in xz in a tar in xz. What each stage takes alone stands beside it.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type DataConfig,
  dataCacheDir,
  Philox,
  prepareDataset,
  readPlain,
  readTar,
  resolveConfig,
} from '@d2v/core';
import type { TextDataConfig } from '../src/data-config.js';
import { fetchText } from '../src/datasets/built-in.js';
import { glosses } from '../src/datasets/glosses.js';
import { cleanDocument } from '../src/datasets/openwebtext/clean.js';
import { openWebTextWith } from '../src/datasets/openwebtext/index.js';
import { ARCHIVE } from '../src/datasets/openwebtext/published.js';
import { sotu } from '../src/datasets/sotu.js';
import text from '../src/index.js';
import { makeTokenizer, tokenizerFiles } from '../src/tokenizer/open.js';
import { TokenList } from '../src/tokenizer/tokenizer.js';

/** Characters of a document, and documents of an archive: as in OpenWebText. */
const DOCUMENT = 4900;
const PER_ARCHIVE = 390;
const TIMES = Number(process.argv[2] ?? 1);

const folder = await mkdtemp(join(tmpdir(), 'd2v-bench-'));
try {
  const documents = await englishDocuments();
  const bytes = documents.reduce((sum, one) => sum + Buffer.byteLength(one), 0);
  console.log(`${documents.length} documents, ${(bytes / 1e6).toFixed(1)} MB`);
  tokenize(documents, bytes);
  const archive = await pack(documents);
  await unpack(archive, bytes);
  const content = await readFile(archive);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const dataset = openWebTextWith({ name: ARCHIVE, urls: [], bytes: content.length, checksums: { sha256 } });
  let cacheDir = '';
  for (const threads of [1, 2, 4].filter((count) => count <= availableParallelism())) {
    cacheDir = join(folder, `cache-${threads}`);
    const [start, cpu] = [performance.now(), process.cpuUsage()];
    await prepareDataset(dataset, {
      cacheDir,
      from: folder,
      offline: true,
      threads,
      options: { valid_share: 0.05 },
      on: (event) => {
        if (event.type !== 'progress') console.log(`  ${event.message}`);
      },
    });
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    const cores = ((user + system) / 1e6 / seconds).toFixed(2);
    report(
      `archive to shards, threads: ${threads}`,
      bytes,
      seconds,
      `${cores} cores busy, verifying included`,
    );
  }
  await readBlocks(cacheDir);
} finally {
  await rm(folder, { recursive: true, force: true });
}

function report(what: string, size: number, seconds: number, more = ''): void {
  console.log(`${what.padEnd(36)} ${(size / 1e6 / seconds).toFixed(1).padStart(8)} MB/s  ${more}`);
}

async function englishDocuments(): Promise<string[]> {
  const options = { cacheDir: dataCacheDir(), log: () => {} };
  const texts: string[] = [];
  for (const set of [sotu, glosses]) {
    const lines = (await readFile(await fetchText(set, options), 'utf8')).trim().split('\n');
    for (const line of lines) texts.push((JSON.parse(line) as { text: string }).text);
  }
  const whole = texts.join('\n');
  const once = Array.from({ length: Math.floor(whole.length / DOCUMENT) }, (_, i) =>
    whole.slice(i * DOCUMENT, (i + 1) * DOCUMENT).replace(/\. (?=[A-Z])/g, '.\n\n'),
  );
  return Array.from({ length: TIMES }, (_, time) => once.map((one) => `${time}. ${one}`)).flat();
}

/** Encoders alone, on text in memory. */
function tokenize(documents: readonly string[], bytes: number): void {
  const tokenizer = makeTokenizer(tokenizerFiles('gpt2'), 'gpt2');
  const list = new TokenList();
  let start = performance.now();
  for (const one of documents) tokenizer.encode(one, list);
  report('encoder alone', bytes, (performance.now() - start) / 1000, `${list.length} tokens`);
  start = performance.now();
  for (const one of documents) cleanDocument(Buffer.from(one));
  report('cleaning alone', bytes, (performance.now() - start) / 1000);
  const { encode } = createRequire(import.meta.url)('gpt-3-encoder') as { encode(text: string): number[] };
  const some = documents.slice(0, 200);
  start = performance.now();
  for (const one of some) encode(one);
  const size = some.reduce((sum, one) => sum + Buffer.byteLength(one), 0);
  report('gpt-3-encoder alone', size, (performance.now() - start) / 1000, 'a part of the text');
}

async function pack(documents: readonly string[]): Promise<string> {
  const tree = join(folder, 'tree');
  await mkdir(join(tree, 'openwebtext'), { recursive: true });
  for (let from = 0, number = 1; from < documents.length; from += PER_ARCHIVE, number++) {
    const inner = join(folder, `inner-${number}`);
    await mkdir(inner);
    for (const [i, one] of documents.slice(from, from + PER_ARCHIVE).entries())
      await writeFile(join(inner, `${String(from + i).padStart(7, '0')}.txt`), one);
    const path = join(tree, 'openwebtext', `urlsf_subset00-${number}_data.xz`);
    execFileSync('tar', ['-cJf', path, '-C', inner, '.']);
  }
  const path = join(folder, ARCHIVE);
  execFileSync('tar', ['-cJf', path, '-C', tree, 'openwebtext']);
  return path;
}

async function unpack(path: string, bytes: number): Promise<void> {
  let start = performance.now();
  for await (const _ of readPlain(path)) {
    // Only read.
  }
  report('outer xz alone', bytes, (performance.now() - start) / 1000, 'in MB of text');
  start = performance.now();
  for await (const entry of readTar(path)) {
    for await (const document of readTar(entry.body(), { archive: entry.name })) await document.read();
  }
  report('both archives, one after the other', bytes, (performance.now() - start) / 1000);
  start = performance.now();
  execFileSync('sh', [
    '-c',
    `mkdir "${folder}/out" && tar -xJf "${path}" -C "${folder}/out" && for f in "${folder}"/out/openwebtext/*.xz; do tar -xJOf "$f" > /dev/null; done`,
  ]);
  report('the programs tar and xz', bytes, (performance.now() - start) / 1000);
}

async function readBlocks(cacheDir: string): Promise<void> {
  const { data } = resolveConfig({ modality: text, preset: 'tiny', set: ['data.dataset=openwebtext'] });
  const source = await text.openData(
    { ...(data as TextDataConfig & DataConfig), dataset_options: { valid_share: 0.05 } },
    { split: 'train', cacheDir, log: () => {}, offline: true },
  );
  const rng = new Philox(1);
  const count = 100_000;
  const start = performance.now();
  let read = 0;
  for (let i = 0; i < count; i++) {
    const sample = await source.get(rng.int(source.length), rng, 'train');
    read += sample.tensors.source!.data.length;
  }
  const seconds = (performance.now() - start) / 1000;
  const each = (value: number) => Math.round(value / seconds).toLocaleString('en');
  console.log(`blocks in random order, one thread   ${each(count)} blocks/s, ${each(read)} tokens/s`);
  await source.close?.();
}
