/** From published files to token shards: the preparation of OpenWebText. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Assets, D2vError, type PrepareContext } from '@d2v/core';
import { TokenShardWriter } from '../../shards/shard-writer.js';
import { tokenizerFiles, vocabSizeOf } from '../../tokenizer/open.js';
import { type EncodeCounts, noCounts } from './encode.js';
import { EncoderPool } from './encoder-pool.js';
import { archiveShards, fileShards, parquetShards, type ShardPlan } from './jobs.js';
import type { OpenWebTextOptions } from './options.js';
import { ARCHIVE, findTree } from './published.js';

/** Documents of the whole corpus, for the share that is done. */
const DOCUMENTS = 8_013_769;

export const TOKENIZER_FOLDER = 'tokenizer';
export const SHARD_STEP = /^shards\/(\d+)$/;

type Context = PrepareContext<OpenWebTextOptions>;

export async function prepareOpenWebText(context: Context): Promise<void> {
  const { options, threads, step, warn } = context;
  const files = await keepTokenizer(context);
  const label = options.tokenizer;
  const width = vocabSizeOf(files, label) <= 2 ** 16 ? 2 : 4;
  const meter = new Meter(context);
  // Started with the first shard that is missing: going on after the last one needs no threads.
  let pool: EncoderPool | null = null;
  try {
    for await (const plan of plansOf(context)) {
      const counts = await step(`shards/${plan.name}`, async (output) => {
        pool ??= new EncoderPool(threads, { files, label, validShare: options.valid_share });
        const writer = await TokenShardWriter.create(output, plan.name, width);
        const sums = noCounts();
        for await (const { job, result } of pool.encode(plan.jobs)) {
          context.signal.throwIfAborted();
          await writer.add(job.name, result.parts);
          addCounts(sums, result.counts);
          meter.add(result.counts, result.busyMs);
        }
        await writer.finish();
        return { ...sums };
      });
      meter.stepDone(counts as unknown as EncodeCounts);
    }
  } finally {
    await (pool as EncoderPool | null)?.close();
  }
  meter.report();
  const { documents, binary_documents: binary, replaced_documents: replaced } = meter.total;
  if (documents === 0) throw new D2vError('openwebtext: there is no text in its files');
  if (binary > 0)
    warn(`openwebtext: ${binary} documents are no text (they have zero bytes) and were left out`);
  if (replaced > 0)
    warn(`openwebtext: ${replaced} documents hold bytes that are no UTF-8, which were read as U+FFFD`);
}

async function* plansOf({ files, from, raw, options, signal }: Context): AsyncGenerator<ShardPlan> {
  const tree = files.length === 0 && from !== null ? await findTree(from) : null;
  const limit = options.parts ?? Infinity;
  if (tree?.kind === 'archives') yield* fileShards(tree.paths);
  else if (tree) yield* parquetShards(tree.paths.slice(0, limit));
  else if (options.source === 'zenodo') yield* archiveShards(raw(ARCHIVE), signal);
  else yield* parquetShards(files.map(({ path }) => path));
}

/**
 * The tokenizer's files, kept with the shards: they are what every shard is encoded with, also when the preparation goes on
 * after the user's own files have changed.
 */
async function keepTokenizer({ options, folder, step }: Context): Promise<Assets> {
  const given = tokenizerFiles(options.tokenizer);
  await step('tokenizer', async (output) => {
    await mkdir(join(output.folder, TOKENIZER_FOLDER));
    for (const [name, bytes] of Object.entries(given))
      await writeFile(join(output.folder, TOKENIZER_FOLDER, name), bytes);
    return { entries: vocabSizeOf(given, options.tokenizer) };
  });
  return readAssets(join(folder, TOKENIZER_FOLDER), Object.keys(given));
}

/** Files of a folder by name. */
export async function readAssets(folder: string, names: readonly string[]): Promise<Assets> {
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, new Uint8Array(await readFile(join(folder, name)))])),
  ) as Assets;
}

function addCounts(sum: EncodeCounts, more: EncodeCounts): void {
  for (const key of Object.keys(sum) as (keyof EncodeCounts)[]) sum[key] += more[key];
}

/** How fast it goes. */
class Meter {
  /** Of all shards, those of earlier times among them. */
  readonly total = noCounts();
  private readonly now = noCounts();
  private readonly start = performance.now();
  private busyMs = 0;
  private shown = 0;

  constructor(private readonly context: Context) {}

  add(counts: EncodeCounts, busyMs: number): void {
    addCounts(this.now, counts);
    this.busyMs += busyMs;
    this.shown += counts.documents;
    this.show();
  }

  stepDone(counts: EncodeCounts): void {
    addCounts(this.total, counts);
    this.shown = this.total.documents;
    this.show();
  }

  report(): void {
    const { documents, text_bytes: bytes, tokens } = this.now;
    if (documents === 0) return;
    const seconds = (performance.now() - this.start) / 1000;
    const rate = (value: number) => Math.round(value / seconds).toLocaleString('en');
    const { threads, log } = this.context;
    const busy = Math.round(this.busyMs / (10 * seconds * threads));
    log(
      `encoded ${documents} documents, ${(bytes / 1e6).toFixed(1)} MB of text, to ${tokens} tokens in ${seconds.toFixed(1)} s: ` +
        `${(bytes / 1e6 / seconds).toFixed(1)} MB/s, ${rate(documents)} documents/s, ${threads} threads ${busy} % busy`,
    );
  }

  private show(): void {
    const { options, from, files, progress } = this.context;
    const published = from === null || files.some(({ name }) => name === ARCHIVE);
    const whole = options.parts === null && published && this.shown <= DOCUMENTS;
    progress('openwebtext', this.shown, whole ? DOCUMENTS : null, 'documents');
  }
}
