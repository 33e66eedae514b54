/** The work to be done as token shards, each of some seconds: what one step of the preparation makes. */
import { basename } from 'node:path';
import { D2vError, parquetRowGroups, readTar } from '@d2v/core';
import type { EncodeJob } from './encode.js';
import { isDocumentArchive } from './published.js';

/** Archives of documents in one shard: about 100 000 documents. */
const ARCHIVES_PER_SHARD = 256;
/** Rows of a parquet file that are worth a message to a thread; row groups are not split. */
const ROWS_PER_JOB = 1000;

/** A shard that is to be made. */
export interface ShardPlan {
  /** Its folder, and the key of its step. */
  name: string;
  /** To be read at most once, before the next plan is asked for. Not reading it passes its part of the source over. */
  jobs: AsyncIterable<EncodeJob>;
}

const shardName = (number: number) => String(number).padStart(5, '0');

/**
 * The published archive of archives, read once from its beginning to its end.
 * @throws D2vError if it holds no archives of documents
 */
export async function* archiveShards(path: string, signal: AbortSignal): AsyncGenerator<ShardPlan> {
  const entries = documentArchives(path, signal);
  try {
    let next = await entries.next();
    if (next.done) throw new D2vError(`${path} holds no archives of documents (*_data.xz)`);
    for (let number = 0; !next.done; number++) {
      let left = ARCHIVES_PER_SHARD;
      const advance = async () => {
        left--;
        next = await entries.next();
      };
      const jobs = async function* (): AsyncGenerator<EncodeJob> {
        while (!next.done && left > 0) {
          const { name } = next.value;
          // A copy: memory goes to the thread, and the reader may keep more in it.
          yield { kind: 'archive', name, bytes: new Uint8Array(await next.value.read()) };
          await advance();
        }
      };
      yield { name: shardName(number), jobs: jobs() };
      while (!next.done && left > 0) await advance();
    }
  } finally {
    await entries.return(undefined);
  }
}

async function* documentArchives(path: string, signal: AbortSignal) {
  for await (const entry of readTar(path, { signal })) if (isDocumentArchive(entry.name)) yield entry;
}

/** The same archives as files of an unpacked tree. */
export async function* fileShards(paths: readonly string[]): AsyncGenerator<ShardPlan> {
  for (let from = 0; from < paths.length; from += ARCHIVES_PER_SHARD) {
    const own = paths.slice(from, from + ARCHIVES_PER_SHARD);
    const jobs = async function* (): AsyncGenerator<EncodeJob> {
      for (const path of own) yield { kind: 'file', name: basename(path), path };
    };
    yield { name: shardName(from / ARCHIVES_PER_SHARD), jobs: jobs() };
  }
}

/** A shard per parquet file. */
export async function* parquetShards(paths: readonly string[]): AsyncGenerator<ShardPlan> {
  for (const [number, path] of paths.entries()) yield { name: shardName(number), jobs: rowJobs(path) };
}

async function* rowJobs(path: string): AsyncGenerator<EncodeJob> {
  const name = basename(path);
  let [from, rows] = [0, 0];
  for (const group of await parquetRowGroups(path)) {
    rows += group;
    if (rows < ROWS_PER_JOB) continue;
    yield { kind: 'rows', name, path, from, rows };
    from += rows;
    rows = 0;
  }
  if (rows > 0) yield { kind: 'rows', name, path, from, rows };
}
