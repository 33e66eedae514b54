import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { StepOutput } from '../types.js';

/** A file of a step that is written from its beginning to its end; its size and SHA-256 are known when it is done. */
export class HashedFile {
  private readonly hash = createHash('sha256');
  private size = 0;

  private constructor(
    private readonly output: StepOutput,
    private readonly name: string,
    private readonly handle: FileHandle,
  ) {}

  /** @param name relative to the step's folder, with `/` */
  static async create(output: StepOutput, name: string): Promise<HashedFile> {
    const handle = await open(join(output.folder, name), 'wx');
    // Closing twice is an error that says nothing here.
    output.atEnd(() => handle.close().catch(() => undefined));
    return new HashedFile(output, name, handle);
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.hash.update(bytes);
    this.size += bytes.length;
    await this.handle.appendFile(bytes);
  }

  /** Closes it and states what it holds. */
  async finish(): Promise<void> {
    await this.handle.close();
    this.output.wrote(this.name, this.size, this.hash.digest('hex'));
  }
}
