import type { RunConfig } from '../config/schema.js';
import type { BatchJob, BatchSource } from '../data/load-batch.js';
import { automaticWorkers, DataLoader } from '../data/loader.js';
import { openSource } from '../data/open-source.js';
import type { SourceSpec } from '../data/protocol.js';
import { D2vError } from '../errors.js';
import { dataCacheDir } from '../modality/cache-dir.js';
import type { Assets, DataSource, DataSplit, Modality } from '../modality/contract.js';

export interface RunDataOptions {
  /** As the modality sees it. */
  config: RunConfig;
  modality: Modality;
  /** Opens data in this process instead of through the plugin; then there are no loader threads. */
  openSource?: (split: DataSplit) => Promise<DataSource>;
  offline?: boolean;
  /** Of the checkpoint that a run goes on from; otherwise those of the part that is opened first. */
  assets?: Assets;
  log(message: string): void;
}

/** The data of a run: opens its parts (downloads happen here, once) and makes loaders for them. */
export class RunData {
  private readonly sources = new Map<DataSplit, Promise<DataSource>>();
  private readonly others: RunData[] = [];

  /** What all parts, and loader threads, are opened with. */
  private assets: Assets | undefined;

  /** The run's config as the modality sees it. */
  get view(): RunConfig {
    return this.options.config;
  }

  get modality(): Modality {
    return this.options.modality;
  }

  constructor(private readonly options: RunDataOptions) {
    this.assets = options.assets;
  }

  /** A part of the data, opened in this thread. @throws D2vError when it is empty */
  source(split: DataSplit): Promise<DataSource> {
    let source = this.sources.get(split);
    if (!source) {
      source = this.open(split);
      this.sources.set(split, source);
    }
    return source;
  }

  /** A loader of a part that is open already. */
  loader(split: DataSplit, source: DataSource, jobs: Iterable<BatchJob>): DataLoader {
    const { data } = this.options.config;
    const workers = this.options.openSource ? 0 : (data.num_workers ?? automaticWorkers());
    return new DataLoader({
      jobs,
      workers,
      prefetch: data.prefetch,
      timeoutSeconds: data.worker_timeout_seconds,
      local: this.local(source),
      spec: this.spec(split),
    });
  }

  /** What loading in this thread needs. */
  local(source: DataSource): BatchSource {
    const { config, modality } = this.options;
    return { source, modality, data: config.data, seed: config.common.seed };
  }

  /** Other data of the same modality, opened with the same assets; closed with this. @param config as it sees it */
  other(config: RunConfig): RunData {
    const data = new RunData({ ...this.options, config, openSource: undefined, assets: this.assets });
    this.others.push(data);
    return data;
  }

  async close(): Promise<void> {
    for (const other of this.others) await other.close();
    for (const source of this.sources.values()) await (await source.catch(() => null))?.close?.();
    this.sources.clear();
  }

  private async open(split: DataSplit): Promise<DataSource> {
    const { openSource: own, modality, log } = this.options;
    const source = own ? await own(split) : await openSource(modality, this.spec(split), log);
    if (source.length === 0) throw new D2vError(`the ${split} part of ${source.name} has no samples`);
    this.assets ??= source.assets?.();
    return source;
  }

  private spec(split: DataSplit): SourceSpec {
    const { config, modality, offline } = this.options;
    const { data } = config;
    return {
      moduleUrl: modality.moduleUrl,
      data,
      open: {
        kind: 'data',
        split,
        cacheDir: dataCacheDir(data.cache_dir),
        offline: offline ?? data.offline,
        assets: this.assets,
      },
      seed: config.common.seed,
    };
  }
}
