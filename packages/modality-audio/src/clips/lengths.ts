/**
 * How long files are, by their headers. They are kept in the cache folder, since opening many files takes a while; a file
 * that has changed (size or time) is looked at again.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { D2vError, makeFolder, mapConcurrent, writeFileAtomic, z } from '@d2v/core';
import { type AudioPlace, openAudio } from '../decode/audio-file.js';
import { lengthAt } from './clip.js';

const VERSION = 1;
const CONCURRENT = 16;

/** Size in bytes, time of the last change, samples. */
const entrySchema = z.tuple([z.number(), z.number(), z.number()]);
const cacheSchema = z.object({ version: z.literal(VERSION), files: z.record(z.string(), entrySchema) });
type Entries = Record<string, z.output<typeof entrySchema>>;

/**
 * Samples of each file at a rate; 0 for a file that cannot be read, which is then reported when it is asked for.
 * @param key names the collection in the cache
 */
export async function fileLengths(
  paths: readonly string[],
  rate: number,
  { cacheDir, key, log }: { cacheDir: string; key: string; log(message: string): void },
): Promise<number[]> {
  const digest = createHash('sha256').update(`${key}\0${rate}`).digest('hex').slice(0, 16);
  const cacheFile = join(cacheDir, 'audio', `lengths-${digest}.json`);
  const known = await readCache(cacheFile);
  const entries: Entries = {};
  let looked = 0;
  const lengths = await mapConcurrent(paths, CONCURRENT, async (path) => {
    const info = await stat(path).catch(() => null);
    if (!info) return 0;
    let entry = known[path];
    if (entry?.[0] !== info.size || entry[1] !== info.mtimeMs) {
      entry = [info.size, info.mtimeMs, await lengthOf({ path }, rate)];
      looked++;
    }
    entries[path] = entry;
    return entry[2];
  });
  if (looked > 0) await writeCache(cacheFile, entries, log);
  return lengths;
}

/** Samples of one file at a rate, 0 if it cannot be read. */
export async function lengthOf(place: AudioPlace, rate: number): Promise<number> {
  try {
    const audio = await openAudio(place);
    await audio.close();
    return lengthAt(audio, rate);
  } catch (error) {
    if ((error as Error).name === 'BadSampleError') return 0;
    throw error;
  }
}

/**
 * Refuses files of which not one can be read, with the reason of the first: lengths of 0 do not tell it.
 * @throws D2vError
 */
export async function requireReadable(files: readonly (AudioPlace & { samples: number })[]): Promise<void> {
  const [first] = files;
  if (!first || files.some(({ samples }) => samples > 0)) return;
  try {
    await (await openAudio(first)).close();
  } catch (error) {
    if ((error as Error).name !== 'BadSampleError' || files.length === 1) throw error;
    const { message } = error as Error;
    throw new D2vError(`none of ${files.length} audio files can be read; the first is ${message}`, {
      cause: error,
    });
  }
}

/** What is in the cache; a file that is not there or not ours counts as empty. */
async function readCache(file: string): Promise<Entries> {
  const text = await readFile(file, 'utf8').catch(() => '');
  try {
    return cacheSchema.parse(JSON.parse(text)).files;
  } catch {
    return {};
  }
}

async function writeCache(file: string, files: Entries, log: (message: string) => void): Promise<void> {
  try {
    await makeFolder(dirname(file));
    await writeFileAtomic(file, JSON.stringify({ version: VERSION, files }));
  } catch (error) {
    // Only speed is lost.
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    log(`the lengths of ${Object.keys(files).length} files could not be kept in ${file} (${code})`);
  }
}
