import { setImmediate as yieldToEvents } from 'node:timers/promises';
import type { RunConfig } from '../config/schema.js';
import type { DataLoader } from '../data/loader.js';
import type { Data2Vec } from '../data2vec/model.js';
import { D2vError } from '../errors.js';
import { knn } from '../evaluation/knn.js';
import { linearProbe } from '../evaluation/linear-probe.js';
import type { Batch, DataSource } from '../modality/contract.js';
import { Philox } from '../random.js';
import { batchFeatures, evaluationJobs } from './feature-batches.js';

/** One part of the labelled data. */
export interface EvaluationPart {
  source: DataSource;
  /** Opens a loader of the part for the given jobs. */
  load(jobs: ReturnType<typeof evaluationJobs>): DataLoader;
}

export interface EvaluatorOptions {
  model: Data2Vec;
  config: RunConfig;
  train: EvaluationPart;
  valid: EvaluationPart;
}

/** Decoded batches are kept between evaluations up to this size; larger sets are read again each time. */
const CACHE_BYTES = 256 * 2 ** 20;

interface Features {
  matrix: { data: Float32Array; shape: number[] };
  labels: Int32Array;
}

/** Scores frozen features with labels during training: kNN and, if asked for, a linear probe. */
export class Evaluator {
  private readonly cache = new Map<EvaluationPart, Batch[]>();

  constructor(private readonly options: EvaluatorOptions) {}

  /**
   * @returns `eval/knn_top1` etc.
   * @throws D2vError when the data has no labels
   */
  async run(): Promise<Record<string, number>> {
    const { eval: settings, common } = this.options.config;
    const train = await this.features(this.options.train, settings.train_samples, 'training');
    const valid = await this.features(this.options.valid, settings.valid_samples, 'held-out');
    const metrics: Record<string, number> = {};
    if (settings.knn) {
      await yieldToEvents();
      const { top1, top5 } = knn(train.matrix, train.labels, valid.matrix, valid.labels, {
        k: settings.k,
        device: common.device,
      });
      Object.assign(metrics, { 'eval/knn_top1': top1, 'eval/knn_top5': top5 });
    }
    if (settings.linear) {
      await yieldToEvents();
      const { top1, top5 } = linearProbe(train.matrix, train.labels, valid.matrix, valid.labels);
      Object.assign(metrics, { 'eval/linear_top1': top1, 'eval/linear_top5': top5 });
    }
    return metrics;
  }

  private async features(part: EvaluationPart, limit: number, name: string): Promise<Features> {
    const { model, config } = this.options;
    const { layer, pool, network } = config.eval;
    const rows: Float32Array[] = [];
    const labels: number[] = [];
    let width = 0;
    for await (const batch of this.batches(part, limit)) {
      const { data, shape } = batchFeatures(model, config.modality, batch, { layer, pool, network });
      width = shape[1]!;
      for (let i = 0; i < batch.size; i++) {
        const label = batch.labels?.[i] ?? -1;
        if (label < 0) continue;
        rows.push(data.subarray(i * width, (i + 1) * width));
        labels.push(label);
      }
      await yieldToEvents();
    }
    if (rows.length === 0) {
      throw new D2vError(
        `eval.interval_updates is set, but the ${name} data has no labels; use labelled data or leave it null`,
      );
    }
    const data = new Float32Array(rows.length * width);
    for (const [i, row] of rows.entries()) data.set(row, i * width);
    return { matrix: { data, shape: [rows.length, width] }, labels: Int32Array.from(labels) };
  }

  private async *batches(part: EvaluationPart, limit: number): AsyncGenerator<Batch> {
    const cached = this.cache.get(part);
    if (cached) return yield* cached;
    const { data, eval: settings, common } = this.options.config;
    const order = new Philox(common.seed).fork('eval').permutation(part.source.length);
    const jobs = evaluationJobs(order.subarray(0, limit), settings.batch_size ?? data.batch_size);
    const loader = part.load(jobs);
    const kept: Batch[] = [];
    let bytes = 0;
    try {
      for (let loaded = await loader.next(); loaded; loaded = await loader.next()) {
        if (!loaded.batch) continue;
        bytes += sizeOf(loaded.batch);
        if (bytes <= CACHE_BYTES) kept.push(loaded.batch);
        yield loaded.batch;
      }
    } finally {
      await loader.close();
    }
    if (bytes <= CACHE_BYTES) this.cache.set(part, kept);
  }
}

function sizeOf(batch: Batch): number {
  return Object.values(batch.tensors).reduce((sum, { data }) => sum + data.byteLength, 0);
}
