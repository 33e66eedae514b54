/** Writes a token shard from parts that are encoded already; sizes and hashes are known when it is done. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HashedFile, type StepOutput } from '@d2v/core';
import { ITEM_FIELDS, META, PARTS, type Part, SHARD_VERSION, type ShardMeta } from './format.js';

/** Tokens and items of a part, their file index 0. */
export interface PartContent {
  tokens: Uint16Array | Int32Array;
  items: Int32Array;
}

export class TokenShardWriter {
  private readonly names: string[] = [];
  private readonly sums = { train: { tokens: 0, items: 0 }, valid: { tokens: 0, items: 0 } };

  private constructor(
    private readonly output: StepOutput,
    private readonly name: string,
    private readonly width: 2 | 4,
    private readonly files: Record<Part, { tokens: HashedFile; items: HashedFile }>,
  ) {}

  /** @param name of its folder @param width bytes per token */
  static async create(output: StepOutput, name: string, width: 2 | 4): Promise<TokenShardWriter> {
    await mkdir(join(output.folder, name));
    const partFiles = async (part: Part) => ({
      tokens: await HashedFile.create(output, `${name}/${part}.tokens`),
      items: await HashedFile.create(output, `${name}/${part}.items`),
    });
    const files = { train: await partFiles('train'), valid: await partFiles('valid') };
    return new TokenShardWriter(output, name, width, files);
  }

  /** Appends what one file gave; its items are changed to bear the file's index. */
  async add(file: string, parts: Readonly<Record<Part, PartContent>>): Promise<void> {
    if (this.names.at(-1) !== file) this.names.push(file);
    for (const part of PARTS) {
      const { tokens, items } = parts[part];
      for (let at = 1; at < items.length; at += ITEM_FIELDS) items[at] = this.names.length - 1;
      await this.files[part].tokens.append(bytesOf(tokens));
      await this.files[part].items.append(bytesOf(items));
      this.sums[part].tokens += tokens.length;
      this.sums[part].items += items.length / ITEM_FIELDS;
    }
  }

  async finish(): Promise<void> {
    for (const part of PARTS) for (const file of Object.values(this.files[part])) await file.finish();
    const { width, sums, names } = this;
    const meta: ShardMeta = {
      version: SHARD_VERSION,
      width,
      parts: sums,
      files: names,
      classes: [],
      damaged: [],
    };
    await writeFile(join(this.output.folder, this.name, META), JSON.stringify(meta));
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint16Array | Int32Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);
