import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { writeFileAtomic } from './atomic-file.js';
import { errorCode } from './fs-errors.js';

/** One line of `metrics.jsonl`. */
export type MetricsRecord = { update: number } & Record<string, number>;

/** `metrics.jsonl`: one JSON object a line, appended as the run goes. */
export class MetricsLog {
  private file: number | undefined;

  private constructor(readonly path: string) {
    this.file = openSync(path, 'a');
  }

  /**
   * Opens the log of a run.
   * @param keepUpTo drop lines of later updates (and a line cut by a crash): what a resumed run computes again. 0 for a
   *   new run
   */
  static async open(path: string, keepUpTo: number): Promise<MetricsLog> {
    const kept = readMetrics(path).filter((record) => record.update <= keepUpTo);
    await writeFileAtomic(path, kept.map((record) => `${JSON.stringify(record)}\n`).join(''));
    return new MetricsLog(path);
  }

  append(record: MetricsRecord): void {
    if (this.file === undefined) throw new Error('the metrics log is closed');
    const line = Buffer.from(`${JSON.stringify(record)}\n`);
    let done = 0;
    while (done < line.length) done += writeSync(this.file, line, done);
  }

  /** Flushes to the disk, so that a checkpoint never outlives the lines before it. */
  sync(): void {
    if (this.file !== undefined) fsyncSync(this.file);
  }

  close(): void {
    if (this.file !== undefined) closeSync(this.file);
    this.file = undefined;
  }
}

/** All whole lines of a metrics file; an absent file has none, damaged lines are left out. */
export function readMetrics(path: string): MetricsRecord[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
  return text.split('\n').flatMap((line) => {
    try {
      const record = JSON.parse(line) as MetricsRecord;
      return typeof record?.update === 'number' ? [record] : [];
    } catch {
      return [];
    }
  });
}
