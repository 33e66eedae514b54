/** A fixed choice of labelled samples of a dataset, decoded for evaluation, in batches. */
import { type BatchBounds, cutBatches, partsOf } from '../data/batches.js';
import { mapConcurrent } from '../data/concurrency.js';
import { lengthsOf } from '../data/lengths.js';
import { D2vError } from '../errors.js';
import type { Batch, DataConfig, DataSource, Modality, Sample } from '../modality/contract.js';
import { Philox } from '../random.js';
import type { FeatureMatrix } from './features.js';

/** Turns a batch into one row of features per sample. */
export interface FeatureExtractor {
  /** Heading of its row in a table. */
  name: string;
  /** [B, D], row-major. */
  extract(batch: Batch, samples: readonly Sample[]): Float32Array;
}

export interface LabelledSetOptions {
  /** Most samples; which ones follows from the seed. */
  limit: number;
  seed: number;
  /** Of a batch. */
  bounds: BatchBounds;
  /** Called for every damaged sample that is left out. */
  onBad?(file: string, reason: string): void;
}

/** Decoded samples up to this size stay in memory for the next evaluation. */
const CACHE_BYTES = 256 << 20;
const CONCURRENT_DECODES = 4;

export class LabelledSet {
  private readonly indices: Int32Array;
  private readonly lengths: Float64Array | null;
  private readonly cache = new Map<number, Sample | null>();
  private cached = 0;

  constructor(
    private readonly source: DataSource,
    private readonly modality: Pick<Modality, 'collate'>,
    private readonly data: DataConfig,
    private readonly options: LabelledSetOptions,
  ) {
    const order = new Philox(options.seed).fork('evaluation').permutation(source.length);
    this.indices = order.slice(0, options.limit);
    this.lengths = lengthsOf(source);
  }

  get name(): string {
    return this.source.name;
  }

  /** Class names, if the data has any. */
  get classes(): string[] | undefined {
    return this.source.classes;
  }

  /**
   * The chosen samples in a fixed order, damaged ones left out.
   * @param labelled leave out samples without a label, too
   */
  batches(labelled = true): AsyncGenerator<Sample[]> {
    return this.load(this.indices, labelled);
  }

  private async *load(order: Int32Array, labelled: boolean): AsyncGenerator<Sample[]> {
    for (const part of partsOf(order, cutBatches(order, this.options.bounds, this.lengths))) {
      const samples = (
        await mapConcurrent([...part], CONCURRENT_DECODES, (index) => this.sample(index, labelled))
      ).flatMap((sample) => sample ?? []);
      if (samples.length > 0) yield samples;
    }
  }

  /**
   * Features by each extractor, decoding every sample once.
   * @throws D2vError if no sample has a label
   */
  async features(
    extractors: readonly FeatureExtractor[],
  ): Promise<{ features: FeatureMatrix[]; labels: Int32Array }> {
    const parts: Float32Array[][] = extractors.map(() => []);
    const labels: number[] = [];
    for await (const samples of this.load(this.byLength(), true)) {
      const batch = this.modality.collate(samples, this.data);
      extractors.forEach((extractor, i) => {
        parts[i]!.push(extractor.extract(batch, samples));
      });
      for (const sample of samples) labels.push(sample.label!);
    }
    if (labels.length === 0) {
      throw new D2vError(
        `${this.source.name} has no labelled samples: evaluation needs classes (folders or a labelled dataset); eval.data can name other data than the training's`,
      );
    }
    return { features: parts.map((rows) => joined(rows, labels.length)), labels: Int32Array.from(labels) };
  }

  /** The samples in an order that needs little padding. */
  private byLength(): Int32Array {
    const { indices, lengths, options } = this;
    if (!lengths || options.bounds.length === null) return indices;
    return indices.slice().sort((a, b) => lengths[a]! - lengths[b]!);
  }

  private async sample(index: number, labelled: boolean): Promise<Sample | null> {
    if (labelled && (this.source.label?.(index) ?? 0) < 0) return null;
    const sample = await this.cachedSample(index);
    return labelled && (sample?.label ?? -1) < 0 ? null : sample;
  }

  private async cachedSample(index: number): Promise<Sample | null> {
    const known = this.cache.get(index);
    if (known !== undefined) return known;
    const sample = await this.decode(index);
    const bytes = sample ? Object.values(sample.tensors).reduce((sum, t) => sum + t.data.byteLength, 0) : 0;
    if (this.cached + bytes <= CACHE_BYTES) {
      this.cached += bytes;
      this.cache.set(index, sample);
    }
    return sample;
  }

  private async decode(index: number): Promise<Sample | null> {
    try {
      const rng = new Philox(this.options.seed).fork('evaluation', index);
      return await this.source.get(index, rng, 'eval');
    } catch (error) {
      if ((error as Error)?.name !== 'BadSampleError') throw error;
      const { file, reason } = error as { file?: string; reason?: string };
      this.options.onBad?.(file ?? this.source.describe(index), reason ?? (error as Error).message);
      return null;
    }
  }
}

function joined(parts: readonly Float32Array[], rows: number): FeatureMatrix {
  const data = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return { data, shape: [rows, data.length / rows] };
}
