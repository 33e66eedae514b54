import { type FileHandle, open } from 'node:fs/promises';

interface Opened {
  handle: Promise<FileHandle>;
  /** Reads under way. */
  users: number;
}

/** Files that are read again and again: so many stay open, those that were not used for longest are closed. */
export class FilePool {
  private readonly files = new Map<string, Opened>();

  constructor(private readonly most: number) {}

  /** Calls `use` with the open file. */
  async with<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
    const file = this.files.get(path) ?? { handle: open(path, 'r'), users: 0 };
    // The last of a map is the one used last.
    this.files.delete(path);
    this.files.set(path, file);
    file.users++;
    try {
      return await use(await file.handle);
    } catch (error) {
      this.files.delete(path);
      throw error;
    } finally {
      file.users--;
      this.shrink();
      if (this.files.get(path) !== file && file.users === 0) closeQuietly(file);
    }
  }

  async close(): Promise<void> {
    const files = [...this.files.values()];
    this.files.clear();
    for (const file of files) if (file.users === 0) await closeQuietly(file);
  }

  private shrink(): void {
    for (const [path, file] of this.files) {
      if (this.files.size <= this.most) return;
      if (file.users > 0) continue;
      this.files.delete(path);
      void closeQuietly(file);
    }
  }
}

async function closeQuietly(file: Opened): Promise<void> {
  await (await file.handle.catch(() => null))?.close().catch(() => undefined);
}
