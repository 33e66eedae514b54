/** What the development kit of ILSVRC2012 says: the classes, and the class of each validation image. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchiveError, readTar } from '@d2v/core';
import { type MatValue, readMat } from './mat-file.js';

export const WNID = /^n\d{8}$/;

const META = 'meta.mat';
const TRUTH = 'ILSVRC2012_validation_ground_truth.txt';
const MOST_BYTES = 64 << 20;

export interface Devkit {
  /** WordNet ids of the classes, sorted: a class's number is its place here, as everywhere outside of the kit itself. */
  wnids: string[];
  /** Class number of validation image i + 1. */
  validation: Int32Array;
}

/** Reads the kit from its archive. @throws ArchiveError if a part is missing or makes no sense */
export async function readDevkit(archive: string): Promise<Devkit> {
  const files = new Map<string, Buffer>();
  const baseOf = (name: string) => name.split('/').at(-1)!;
  const wanted = (name: string) => [META, TRUTH].includes(baseOf(name));
  for await (const entry of readTar(archive, { totalBytes: 1 << 30, wanted }))
    files.set(baseOf(entry.name), await entry.read(MOST_BYTES));
  return parseDevkit(archive, files);
}

/** Reads the kit from the folder it was unpacked to. */
export async function readDevkitFolder(folder: string): Promise<Devkit> {
  const files = new Map<string, Buffer>();
  for (const name of [META, TRUTH]) files.set(name, await readFile(join(folder, 'data', name)));
  return parseDevkit(folder, files);
}

function parseDevkit(source: string, files: ReadonlyMap<string, Buffer>): Devkit {
  const fileOf = (name: string): Buffer => {
    const bytes = files.get(name);
    if (!bytes) throw new ArchiveError(source, name, 'is missing');
    return bytes;
  };
  const byId = leaves(readMat(fileOf(META), `${source}: ${META}`).get('synsets'), source);
  const wnids = [...byId.values()].sort();
  const numbers = new Map(wnids.map((wnid, number) => [wnid, number]));
  const ids = fileOf(TRUTH).toString('latin1').trim().split(/\s+/);
  const validation = Int32Array.from(ids, (id, i) => {
    const wnid = byId.get(Number(id));
    if (wnid === undefined)
      throw new ArchiveError(source, TRUTH, `names in line ${i + 1} the class ${id}, which ${META} has not`);
    return numbers.get(wnid)!;
  });
  return { wnids, validation };
}

/** WordNet ids by the kit's own class numbers; synsets with children are no classes. */
function leaves(synsets: MatValue | undefined, source: string): Map<number, string> {
  const byId = new Map<number, string>();
  for (const synset of Array.isArray(synsets) ? synsets : []) {
    const { ILSVRC2012_ID: id, WNID: wnid, num_children: children } = synset as Record<string, MatValue>;
    if (!Array.isArray(id) || typeof wnid !== 'string' || !WNID.test(wnid) || !Array.isArray(children))
      throw new ArchiveError(
        source,
        META,
        'has a synset without a proper ILSVRC2012_ID, WNID or num_children',
      );
    if (children[0] === 0) byId.set(id[0] as number, wnid);
  }
  if (byId.size === 0 || new Set(byId.values()).size !== byId.size)
    throw new ArchiveError(source, META, 'has no classes, or one of them twice');
  return byId;
}
