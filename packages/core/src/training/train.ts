import { type AnyConfig, modalitiesOf, viewOf } from '../config/joint.js';
import { D2vError } from '../errors.js';
import { evaluationConfig } from '../evaluation/evaluation-config.js';
import type { DataSource, DataSplit, Modality } from '../modality/contract.js';
import type { TrainerListener } from './events.js';
import { explainWriteError } from './fs-errors.js';
import { Run } from './run.js';
import { ensureRunDatasets, type RunDatasetOptions } from './run-datasets.js';
import { RunFolder } from './run-folder.js';
import type { StopReason } from './stop-rules.js';
import { StopSignal } from './stop-signal.js';

export interface TrainOptions {
  /** Resolved and validated, see `resolveConfig`. */
  config: AnyConfig;
  /** The loaded plugin of `config.modality`; instead of `modalities`. */
  modality?: Modality;
  /** The loaded plugins of `config.modalities`. */
  modalities?: readonly Modality[];
  /** The run folder; made if needed. */
  runDir: string;
  /** Go on from the folder's last checkpoint. Default false: the folder must not hold a run. */
  resume?: boolean;
  /** Told about everything that happens. */
  on?: TrainerListener;
  /** Aborting it finishes the update, saves, and ends the run with reason `signal`. */
  signal?: AbortSignal;
  /** Also listen to SIGINT and SIGTERM of this process. Default false. */
  handleSignals?: boolean;
  /** Data in this process instead of the plugins'; samples are then loaded in this thread. */
  openSource?: (split: DataSplit, modality: string) => Promise<DataSource>;
  /** Never use the network. Default: `data.offline`. */
  offline?: boolean;
  /** For the datasets that the config names and that are not there yet: progress, terms, mirror, ... */
  datasets?: RunDatasetOptions;
}

export interface TrainResult {
  reason: StopReason;
  /** One line for the user: why the run ended. */
  message: string;
  /** Updates and samples of the whole run, over its resumes. */
  update: number;
  samples: number;
  seconds: number;
  runDir: string;
  /** The last checkpoint, relative to the run folder. */
  checkpoint: string;
  /** The last line of the log. */
  metrics: Record<string, number>;
  badSamples: number;
  skippedUpdates: number;
}

/**
 * Trains a model until a stop rule, a signal or an error ends the run, in a folder that holds all of it: `config.yaml`,
 * `metrics.jsonl`, `curves.html`, TensorBoard events, `checkpoints/`. A run that was interrupted at any instant and
 * resumed computes the same numbers, bit for bit on the same device, as one that was not.
 *
 * @throws D2vError with one line and the remedy; the folder's last good checkpoint is untouched
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const { config, runDir, on = () => {} } = options;
  const modalities = pluginsOf(options);
  // A slip in eval.data is said now, not when there is something to score.
  for (const modality of modalities) await evaluationConfig(modality, viewOf(config, modality.name));
  const folder = await RunFolder.open(runDir, {
    resume: options.resume ?? false,
    keep: config.checkpoint.keep_interval_updates,
  });
  // Before signals are handled: whatever happens here goes on later from where it was.
  try {
    const log: RunDatasetOptions['on'] = (event) => {
      if (event.type !== 'progress') on({ type: event.type, message: event.message });
    };
    const { offline, signal, openSource } = options;
    if (!openSource) {
      await ensureRunDatasets(config, modalities, {
        on: log,
        signal,
        ...(offline && { offline }),
        ...options.datasets,
      });
    }
  } catch (error) {
    await folder.close();
    throw error;
  }
  const stopSignal = new StopSignal({
    handleSignals: options.handleSignals,
    signal: options.signal,
    onRequest: (cause) => {
      const hint = cause === 'abort' ? '' : '; again: stop at once without saving';
      on({ type: 'warning', message: `${cause}: finishing the update and saving${hint}` });
    },
  });
  try {
    return await new Run(options, modalities, folder, stopSignal, on).execute();
  } catch (error) {
    const last = await folder.store.resolve('last').catch(() => null);
    throw await explainWriteError(
      error,
      'the run',
      runDir,
      last === null ? undefined : `checkpoint ${last} is untouched`,
    );
  } finally {
    stopSignal.dispose();
    await folder.close();
  }
}

/** The plugins in the order of the config. @throws D2vError if one is missing or too many */
function pluginsOf({ config, modality, modalities = modality ? [modality] : [] }: TrainOptions): Modality[] {
  const names = modalitiesOf(config);
  const plugins = names.flatMap((name) => modalities.find((plugin) => plugin.name === name) ?? []);
  if (plugins.length === names.length && modalities.length === names.length) return plugins;
  const given = modalities.map(({ name }) => name).join(', ') || 'none';
  throw new D2vError(`the config is for ${names.join(', ')}, but the plugins given are: ${given}`);
}
