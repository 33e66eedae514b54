import { basename } from 'node:path';
import { type AnyConfig, modalitiesOf } from '../config/joint.js';
import { renderCurves } from '../report/curves.js';
import { writeFileAtomic } from './atomic-file.js';
import type { TrainerListener } from './events.js';
import { MetricsLog, readMetrics } from './metrics-log.js';
import { CURVES_FILE, METRICS_FILE, type RunFolder, TENSORBOARD_FOLDER } from './run-folder.js';
import { EventFileWriter } from './tensorboard/writer.js';

/** Writes every record of metrics to all places: `metrics.jsonl`, TensorBoard, the listener. */
export class RunLog {
  private constructor(
    private readonly folder: RunFolder,
    private readonly metrics: MetricsLog,
    private readonly events: EventFileWriter | null,
    private readonly listener: TrainerListener,
    private readonly modalities: readonly string[],
  ) {}

  static async open(folder: RunFolder, config: AnyConfig, listener: TrainerListener): Promise<RunLog> {
    const from = folder.resumeFrom ?? 0;
    const metrics = await MetricsLog.open(folder.file(METRICS_FILE), from);
    const events = config.common.tensorboard
      ? new EventFileWriter(folder.file(TENSORBOARD_FOLDER), from + 1)
      : null;
    return new RunLog(folder, metrics, events, listener, modalitiesOf(config));
  }

  record(type: 'log' | 'eval', update: number, metrics: Record<string, number>): void {
    this.metrics.append({ update, ...metrics });
    this.events?.scalars(update, metrics);
    this.listener({ type, update, metrics });
  }

  /** Before a checkpoint: it must never be ahead of the log on the disk. */
  sync(): void {
    this.metrics.sync();
  }

  /** Draws the page of curves from what is logged so far. */
  async drawCurves(): Promise<void> {
    const rows = readMetrics(this.metrics.path);
    const page = renderCurves(rows, basename(this.folder.path), this.modalities);
    await writeFileAtomic(this.folder.file(CURVES_FILE), page);
  }

  close(): void {
    this.metrics.close();
    this.events?.close();
  }
}
