/**
 * Sounds as published, undecoded, in tar shards: few large files instead of hundreds of thousands of small ones, each sound
 * one read away. What lies unpacked in a folder of the user's is not copied: the table then names its files.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BadSampleError, type Counts, type PrepareContext, ShardWriter, type StepOutput } from '@d2v/core';
import { type AudioInfo, openAudio, openAudioBytes } from '../../decode/audio-file.js';
import { memoryBytes } from '../../decode/bytes.js';
import { encodeTable, type SoundRow } from './table.js';

/** A sound to be stored. */
export interface Sound {
  /** Unique in the dataset; without dots in the last part. */
  id: string;
  /** `flac`, `wav` */
  ending: string;
  /** Its content, or the path where it lies and stays. */
  source: Buffer | string;
  className?: string;
  /** Number of the class. */
  label?: number;
  speaker?: string;
  text?: string;
}

/** About what a shard holds, in bytes. */
const SHARD_BYTES = 512 * 2 ** 20;

/** Counts of a shard that say where the next one goes on. */
export const SHARD_COUNTS = ['groups', 'ends'] as const;

export interface FillOptions {
  /** Of the steps (`<key>/00000`) and of the shards (`<key>-00000.tar`). */
  key: string;
  /** Starts reading from the beginning. Sounds of a group lie in one shard. The same every time. */
  groups(): AsyncIterable<readonly Sound[]>;
  /** For tests. */
  shardBytes?: number;
}

/**
 * Stores sounds, a step of the preparation per shard. Where an earlier preparation has stopped, what is stored already is read
 * over; if everything is stored, nothing is read.
 * @returns the names of the tables, in order
 */
export async function fillShards(
  ctx: Pick<PrepareContext<unknown>, 'step' | 'warn' | 'signal'>,
  { key, groups, shardBytes = SHARD_BYTES }: FillOptions,
): Promise<string[]> {
  const tables: string[] = [];
  const reader = new GroupReader(groups);
  try {
    for (let number = 0; ; number++) {
      const name = `${key}-${String(number).padStart(5, '0')}`;
      const counts = await ctx.step(`${key}/${name.slice(key.length + 1)}`, async (output) => {
        const shard = new SoundShard(output, name);
        let taken = 0;
        for (let group = await reader.next(); group; group = await reader.next()) {
          ctx.signal.throwIfAborted();
          for (const sound of group) await shard.add(sound);
          taken++;
          if (shard.bytes >= shardBytes) break;
        }
        return { ...(await shard.finish()), groups: taken, ends: (await reader.peek()) ? 0 : 1 };
      });
      reader.stored(counts.groups ?? 0);
      if (counts.damaged) {
        ctx.warn(`${name}: left out ${counts.damaged} damaged files, listed in ${name}.damaged.tsv`);
      }
      tables.push(`${name}.jsonl`);
      if (counts.ends) return tables;
    }
  } finally {
    await reader.close();
  }
}

/** Groups in order; those that are stored already are passed over when the first one is asked for. */
class GroupReader {
  private iterator?: AsyncIterator<readonly Sound[]>;
  private ahead?: readonly Sound[];
  /** Groups that are in shards, and groups taken from the iterator. */
  private want = 0;
  private taken = 0;

  constructor(private readonly groups: () => AsyncIterable<readonly Sound[]>) {}

  /** States that so many more groups are in shards. */
  stored(count: number): void {
    this.want += count;
  }

  async next(): Promise<readonly Sound[] | null> {
    const group = await this.peek();
    if (!group) return null;
    this.ahead = undefined;
    this.taken++;
    return group;
  }

  async peek(): Promise<readonly Sound[] | null> {
    this.iterator ??= this.groups()[Symbol.asyncIterator]();
    for (; this.taken < this.want; this.taken++) {
      if (!this.ahead) await this.advance();
      this.ahead = undefined;
    }
    if (!this.ahead) await this.advance();
    return this.ahead ?? null;
  }

  async close(): Promise<void> {
    await this.iterator?.return?.();
  }

  private async advance(): Promise<void> {
    const { done, value } = await this.iterator!.next();
    this.ahead = done ? undefined : value;
  }
}

/** One shard with its table. */
class SoundShard {
  private readonly rows: SoundRow[] = [];
  private readonly damaged: string[] = [];
  private writer?: ShardWriter;
  private seconds = 0;
  bytes = 0;

  constructor(
    private readonly output: StepOutput,
    private readonly name: string,
  ) {}

  /** Sounds so far. */
  get count(): number {
    return this.rows.length;
  }

  /** Appends a sound; one that is no audio, or is cut off, is listed instead. */
  async add({ id, ending, source, className, label, speaker, text }: Sound): Promise<void> {
    const info = await probe(source, id);
    if (typeof info === 'string') {
      this.damaged.push(`${id}\t${info}\n`);
      return;
    }
    const { sampleRate: rate, length: samples } = info;
    const more = { rate, samples, class: className, speaker, text };
    if (typeof source === 'string') {
      this.rows.push({ id, file: source, ...more });
    } else {
      const file = `${this.name}.tar`;
      this.writer ??= await ShardWriter.create(this.output, file);
      const files = { [ending]: source, ...(text !== undefined && { txt: Buffer.from(text) }) };
      const { offset, bytes } = (await this.writer.add({ key: id, files, label })).get(ending)!;
      this.rows.push({ id, file, part: [offset, bytes], ...more });
      this.bytes = this.writer.bytes;
    }
    this.seconds += samples / rate;
  }

  async finish(): Promise<Counts> {
    await this.writer?.finish();
    const put = (ending: string, text: string) =>
      writeFile(join(this.output.folder, `${this.name}.${ending}`), text, { flag: 'wx' });
    await put('jsonl', encodeTable(this.rows));
    if (this.damaged.length > 0) await put('damaged.tsv', this.damaged.join(''));
    return { sounds: this.count, seconds: Math.round(this.seconds), damaged: this.damaged.length };
  }
}

/** Rate and length by the headers (of FLAC also whether the last frame is there), or what is wrong with it. */
async function probe(source: Buffer | string, name: string): Promise<AudioInfo | string> {
  try {
    if (typeof source !== 'string') return await openAudioBytes(memoryBytes(source), name);
    const audio = await openAudio({ path: source });
    await audio.close();
    return audio;
  } catch (error) {
    if (error instanceof BadSampleError) return error.reason;
    throw error;
  }
}
