import { closeSync, mkdirSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { maskedCrc32c } from './crc32c.js';
import { restartEvent, scalarsEvent, versionEvent } from './protobuf.js';

const now = () => Date.now() / 1000;

/**
 * Writes scalars to a TensorBoard event file: TFRecord frames (length, its checksum, content, its checksum) of `Event`
 * messages. Each process of a run writes its own file; a resumed one says from which step earlier files are void.
 */
export class EventFileWriter {
  private file: number | undefined;

  /**
   * @param folder the log folder, made if needed
   * @param firstUpdate the first update that this process computes; what earlier files hold from there on is void
   */
  constructor(folder: string, firstUpdate: number) {
    mkdirSync(folder, { recursive: true });
    const time = now();
    // TensorBoard reads files in the order of their names; the counter settles two starts within a second.
    const counter = readdirSync(folder).filter((name) => name.includes('tfevents')).length;
    const name = `events.out.tfevents.${Math.floor(time)}.d2v.${String(counter).padStart(4, '0')}`;
    this.file = openSync(join(folder, name), 'a');
    this.append(versionEvent(time));
    if (counter > 0) this.append(restartEvent(time, firstUpdate));
  }

  /** Adds one point to each curve. Values that are not finite are left out. */
  scalars(step: number, values: Readonly<Record<string, number>>): void {
    const finite = Object.entries(values).filter(([, value]) => Number.isFinite(value));
    if (finite.length > 0) this.append(scalarsEvent(now(), step, finite));
  }

  close(): void {
    if (this.file !== undefined) closeSync(this.file);
    this.file = undefined;
  }

  private append(event: Buffer): void {
    if (this.file === undefined) throw new Error('the event file is closed');
    const record = frame(event);
    // One write per record: a killed process leaves whole records, or one cut record at the end that readers skip.
    let done = 0;
    while (done < record.length) done += writeSync(this.file, record, done);
  }
}

/** One TFRecord. */
export function frame(content: Buffer): Buffer {
  const record = Buffer.alloc(12 + content.length + 4);
  record.writeBigUInt64LE(BigInt(content.length), 0);
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  content.copy(record, 12);
  record.writeUInt32LE(maskedCrc32c(content), 12 + content.length);
  return record;
}
