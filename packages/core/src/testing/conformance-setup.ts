/** What the conformance suite works on: a small model of the modality and some samples of its data. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inputLayer, objectLayer, type Plain } from '../config/index.js';
import { resolveConfig } from '../config/resolve.js';
import type { RunConfig, RunConfigInput } from '../config/schema.js';
import { Data2Vec } from '../data2vec/index.js';
import { dataCacheDir } from '../modality/cache-dir.js';
import type { Assets, Batch, DataSource, DeepPartial, Modality, Sample } from '../modality/contract.js';
import { Philox } from '../random.js';

/** Sample data for the suite, and how small the model must be to be quick. */
export interface ConformanceData {
  /** Settings of the `data` section that open a small dataset: at least 16 samples, a few dozen are better. */
  data: DeepPartial<RunConfigInput['data']> & Plain;
  /** Settings laid over the default preset, e.g. a narrow decoder. The suite makes the model 32 wide and 2 deep. */
  config?: DeepPartial<RunConfigInput> & Plain;
  /** Files or folders for `openInputs`. */
  inputs?: string[];
  /** Parameters of the plugin's own that have no gradient, by a part of their name. */
  withoutGradient?: string[];
  /** Learning rate of the 50 updates (default 1e-3). */
  lr?: number;
}

/** Most samples that the suite decodes. */
const SAMPLES = 8;

const SMALL = {
  model: {
    embed_dim: 32,
    depth: 2,
    num_heads: 4,
    clone_batch: 2,
    average_top_k_layers: 2,
    // A slow teacher: a fast one changes the targets' variance, and the loss with it, in the first updates.
    ema_decay: 0.9995,
    ema_end_decay: 0.9999,
    min_target_var: 0,
    min_pred_var: 0,
  },
  data: { batch_size: SAMPLES, num_workers: 0, max_bad_share: 0 },
  common: { device: 'cpu', dtype: 'f32', tensorboard: false, log_interval: 1, seed: 1 },
  optimization: { max_update: 50, update_freq: 1 },
  lr_scheduler: { name: 'constant', warmup_updates: 0 },
  eval: { interval_updates: null, report: false },
  stop: { max_seconds: null, loss_threshold: null, plateau_patience: null },
} satisfies Plain;

export class Setup {
  private constructor(
    readonly modality: Modality,
    readonly config: RunConfig,
    readonly source: DataSource,
    readonly samples: Sample[],
    readonly folder: string,
  ) {}

  static async create(modality: Modality, given: ConformanceData): Promise<Setup> {
    const config = resolveConfig({
      modality,
      layers: [
        objectLayer(SMALL, 'the conformance suite'),
        objectLayer({ optimization: { lr: given.lr ?? 1e-3 }, data: given.data }, 'the sample data'),
        inputLayer(given.config ?? {}, 'the config of the sample data'),
      ],
    });
    const folder = await mkdtemp(join(tmpdir(), `d2v-${modality.name}-`));
    const source = await open(modality, config, 'train');
    const count = Math.min(SAMPLES, source.length);
    const samples = await Promise.all(
      Array.from({ length: count }, (_, i) => source.get(i, new Philox(1).fork(i), 'eval')),
    );
    return new Setup(modality, config, source, samples, folder);
  }

  /** State-dict key of the modality. */
  get key(): string {
    return this.modality.name.toUpperCase();
  }

  batch(samples: Sample[] = this.samples): Batch {
    return this.modality.collate(samples, this.config.data);
  }

  /** A model that lives as long as `use` runs. */
  withModel<T>(use: (model: Data2Vec) => T): T {
    const model = Data2Vec.create({ config: this.config.model, modalities: [this.modality], seed: 1 });
    try {
      return use(model);
    } finally {
      model.dispose();
    }
  }
}

/** Opens a part of the sample data. */
export function open(
  modality: Modality,
  config: RunConfig,
  split: 'train' | 'valid' | 'all',
  assets?: Assets,
): Promise<DataSource> {
  const { data } = config;
  const cacheDir = dataCacheDir(data.cache_dir);
  return modality.openData(data, { split, cacheDir, log() {}, offline: data.offline, assets });
}
