/** A task of GLUE as JSONL, a file per split: read like a user's own text. */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { finished } from 'node:stream/promises';
import { type Counts, D2vError, type PrepareContext, readZip } from '@d2v/core';
import { type GlueRow, type GlueTableContent, readTable } from './table.js';
import { type GlueTable, type GlueTask, MRPC_DEV_IDS, MRPC_TRAIN } from './tasks.js';

/** The file of a split in the prepared folder. */
export const splitFile = (split: string) => `${split}.jsonl`;

/** Largest table (MNLI's training part has 75 MB). */
const MOST_TABLE = 1 << 30;

export async function prepareGlueTask(task: GlueTask, context: PrepareContext<unknown>): Promise<void> {
  const { splits, step, warn, log } = context;
  for (const split of splits) {
    const table = task.splits[split]!;
    const counts = await step(split, async (output) => {
      const content = readTable(await tableBytes(table, context), table.columns, table.file);
      const rows = await rowsOf(split, table, content, context);
      return writeRows(join(output.folder, splitFile(split)), rows, task, { table, short: content.short });
    });
    if (counts.short)
      warn(`glue-${task.name} ${split}: ${counts.short} lines with too few cells were left out`);
    log(`glue-${task.name} ${split}: ${counts.samples} texts`);
  }
}

/** The bytes of a table, from the zip that holds it or a file of its own. */
async function tableBytes(
  { file }: GlueTable,
  { files, raw, signal }: PrepareContext<unknown>,
): Promise<Uint8Array> {
  const [zip] = files.filter(({ name }) => name.endsWith('.zip'));
  if (!zip) return readFile(raw(file));
  for await (const entry of readZip(zip.path, { signal, wanted: (name) => name === file })) {
    return entry.read(MOST_TABLE);
  }
  throw new D2vError(`${zip.path} does not hold ${file}`);
}

/** The rows of a split. MRPC's training and dev part lie in one file, told apart by a list of ids. */
async function rowsOf(
  split: string,
  { file }: GlueTable,
  { rows, column }: GlueTableContent,
  { raw }: PrepareContext<unknown>,
): Promise<GlueRow[]> {
  if (basename(file) !== MRPC_TRAIN) return rows;
  const lines = (await readFile(raw(MRPC_DEV_IDS), 'utf8')).split('\n');
  const held = new Set(lines.map((line) => line.trim()).filter((line) => line !== ''));
  const [first, second] = [column('#1 ID'), column('#2 ID')];
  return rows.filter(({ cells }) => held.has(`${cells[first]}\t${cells[second]}`) === (split === 'valid'));
}

async function writeRows(
  path: string,
  rows: readonly GlueRow[],
  { classes }: GlueTask,
  { table, short }: { table: GlueTable; short: number },
): Promise<Counts> {
  const stream = createWriteStream(path, { flags: 'wx' });
  let [samples, unlabelled] = [0, 0];
  try {
    for (const { text, pair, label, line } of rows) {
      // MNLI marks pairs that its judges could not agree on with "-".
      if (label === '-') {
        unlabelled++;
        continue;
      }
      const fields = label === null ? {} : labelFields(label, classes, `${table.file}:${line}`);
      const record = { text, ...(pair !== null && { pair }), ...fields, id: line };
      if (!stream.write(`${JSON.stringify(record)}\n`)) await once(stream, 'drain');
      samples++;
    }
    stream.end();
    await finished(stream);
  } catch (error) {
    stream.destroy();
    throw error;
  }
  return { samples, ...(short > 0 && { short }), ...(unlabelled > 0 && { unlabelled }) };
}

/** A class by name; of a score, the score and the nearest whole number as a class. */
function labelFields(label: string, classes: GlueTask['classes'], where: string): object {
  if (classes === null) {
    const score = Number(label);
    if (label.trim() === '' || !Number.isFinite(score))
      throw new D2vError(`${where}: "${label}" is not a score`);
    return { label: String(Math.round(score)), score };
  }
  if (Object.hasOwn(classes, label)) return { label: classes[label] };
  throw new D2vError(
    `${where}: "${label}" is none of the labels ${Object.keys(classes).join(', ')} that are expected`,
  );
}
