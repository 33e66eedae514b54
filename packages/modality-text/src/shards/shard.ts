/** Reading prepared text: by position, so that memory does not grow with the text. */
import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { D2vError } from '@d2v/core';
import type { BreakMode } from '../data-config.js';
import { BlockCutter } from './blocks.js';
import { NumberFile } from './file-buffer.js';
import { BLOCK_FIELDS, ITEM_FIELDS, type Part } from './format.js';
import type { Prepared } from './prepare.js';

/** Numbers read at once when a file is run through. */
const CHUNK = 1 << 16;

/** A sample's place. */
export interface Block {
  start: number;
  length: number;
  item: number;
}

/** One part of a prepared text, cut into blocks. */
export class Shard {
  readonly length: number;
  private readonly tokens: number;
  private readonly blocks: number;
  private readonly itemsPath: string;
  /** Opened when it is first asked for: not every run needs it, and files are many where shards are. */
  private items: number | null = null;

  /** @param size most tokens of a block */
  constructor(
    readonly prepared: Prepared,
    part: Part,
    mode: BreakMode,
    size: number,
  ) {
    const { folder, blocksFolder = folder } = prepared;
    const path = join(blocksFolder, `${part}.${mode}-${size}.blocks`);
    this.itemsPath = join(folder, `${part}.items`);
    if (!existsSync(path)) writeBlocks(path, this.itemsPath, mode, size);
    this.tokens = openSync(join(folder, `${part}.tokens`), 'r');
    this.blocks = openSync(path, 'r');
    this.length = fstatSync(this.blocks).size / (8 * BLOCK_FIELDS);
  }

  block(index: number): Block {
    const [start, length, item] = this.read(
      new Float64Array(BLOCK_FIELDS),
      this.blocks,
      index * BLOCK_FIELDS,
    );
    return { start: start!, length: length!, item: item! };
  }

  /** The tokens of a block behind a first token. */
  tokensOf({ start, length }: Block, first: number): Int32Array {
    const ids = new Int32Array(length + 1);
    ids[0] = first;
    const numbers = this.prepared.meta.width === 2 ? new Uint16Array(length) : ids.subarray(1);
    this.read(numbers, this.tokens, start);
    if (numbers instanceof Uint16Array) ids.set(numbers, 1);
    return ids;
  }

  /** Where an item comes from, and its class (-1: none). */
  item(index: number): { file: number; line: number; label: number } {
    this.items ??= openSync(this.itemsPath, 'r');
    const [, file, line, label] = this.read(new Int32Array(ITEM_FIELDS), this.items, index * ITEM_FIELDS);
    return { file: file!, line: line!, label: label! };
  }

  /** Lengths of all blocks, in tokens. */
  lengths(): Float64Array {
    const lengths = new Float64Array(this.length);
    const buffer = new Float64Array(CHUNK * BLOCK_FIELDS);
    for (let from = 0; from < this.length; from += CHUNK) {
      const count = Math.min(CHUNK, this.length - from);
      this.read(buffer.subarray(0, count * BLOCK_FIELDS), this.blocks, from * BLOCK_FIELDS);
      for (let i = 0; i < count; i++) lengths[from + i] = buffer[i * BLOCK_FIELDS + 1]!;
    }
    return lengths;
  }

  close(): void {
    for (const file of [this.tokens, this.items, this.blocks]) if (file !== null) closeSync(file);
    this.items = null;
  }

  /** Fills an array with the numbers at a place, counted in numbers. */
  private read<T extends Uint16Array | Int32Array | Float64Array>(into: T, file: number, place: number): T {
    const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
    const from = place * into.BYTES_PER_ELEMENT;
    for (let done = 0; done < bytes.length; ) {
      const count = readSync(file, bytes, done, bytes.length - done, from + done);
      if (count === 0) throw new D2vError(`${this.prepared.folder} is cut off: remove it, it is made again`);
      done += count;
    }
    return into;
  }
}

/** Cuts a part into blocks and keeps their places. */
function writeBlocks(path: string, itemsPath: string, mode: BreakMode, size: number): void {
  const items = openSync(itemsPath, 'r');
  try {
    writeBlocksOf(path, items, mode, size);
  } finally {
    closeSync(items);
  }
}

function writeBlocksOf(path: string, items: number, mode: BreakMode, size: number): void {
  const temporary = `${path}.tmp-${process.pid}-${Math.random().toString(36).slice(2, 10)}`;
  const file = new NumberFile(temporary, new Float64Array(CHUNK));
  try {
    const cutter = new BlockCutter(mode, size, (start, length, item) => file.append([start, length, item]));
    const total = fstatSync(items).size;
    const buffer = new Int32Array(CHUNK * ITEM_FIELDS);
    for (let at = 0; at < total; ) {
      const count = readSync(items, buffer, 0, Math.min(buffer.byteLength, total - at), at);
      const whole = Math.floor(count / (4 * ITEM_FIELDS));
      if (whole === 0) throw new D2vError(`${path}: the list of items is cut off: remove its folder`);
      for (let i = 0; i < whole; i++) cutter.add(buffer[i * ITEM_FIELDS]!, buffer[i * ITEM_FIELDS + 4]!);
      at += whole * 4 * ITEM_FIELDS;
    }
    cutter.end();
    file.finish();
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
