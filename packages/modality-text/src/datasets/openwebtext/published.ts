/** What is published of OpenWebText, and what of it a user may already have. */
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { D2vError, type DatasetFile, type FilesContext, listHubFiles } from '@d2v/core';

export const ARCHIVE = 'openwebtext.tar.xz';

/**
 * The archive of Zenodo's record 3834942. Size and SHA-256 are those that Hugging Face's datasets records
 * (datasets/openwebtext/dataset_infos.json); The Pile states the same SHA-256. Zenodo itself shows an MD5.
 */
export const PUBLISHED_ARCHIVE: DatasetFile = {
  name: ARCHIVE,
  urls: [
    `https://zenodo.org/records/3834942/files/${ARCHIVE}?download=1`,
    `https://zenodo.org/record/3834942/files/${ARCHIVE}`,
  ],
  bytes: 12_880_027_468,
  checksums: { sha256: '9fe39d154c5bc67da8c359415372b79510eb1e2edb0d035fe4f7fc3a732b9336' },
};

const REPOSITORY = 'datasets/Skylion007/openwebtext';
const FOLDER = 'plain_text';

/**
 * The parquet files of the hub, with the sizes and SHA-256 that it states.
 * @param most only the first ones; null = all
 * @throws D2vError if the hub's answer is no list, or has none of them
 */
export async function hubFiles(
  context: Pick<FilesContext<unknown>, 'mirror' | 'fetchText'>,
  most: number | null,
): Promise<DatasetFile[]> {
  const files = (await listHubFiles(REPOSITORY, FOLDER, context))
    .filter(({ name }) => name.endsWith('.parquet'))
    .slice(0, most ?? Infinity);
  if (files.length === 0)
    throw new D2vError(
      `openwebtext: the hub (or --mirror) lists no parquet files in ${REPOSITORY}/${FOLDER}`,
    );
  return files;
}

/** Files of a folder that is given in place of the published ones. */
export interface LocalTree {
  kind: 'archives' | 'parquet';
  paths: string[];
}

/** The unpacked archive or parquet files in a folder, in the folder it unpacks to, or as the hub has them; null if there are none. */
export async function findTree(from: string): Promise<LocalTree | null> {
  for (const [kind, pattern] of [
    ['archives', /^urlsf_subset.*\.xz$/],
    ['parquet', /\.parquet$/],
  ] as const) {
    for (const folder of [from, join(from, 'openwebtext'), join(from, FOLDER)]) {
      const names = await readdir(folder).catch(() => []);
      const paths = names.filter((name) => pattern.test(name)).map((name) => join(folder, name));
      if (paths.length > 0) return { kind, paths: paths.sort() };
    }
  }
  return null;
}

/** Whether an entry of the archive is a tar of documents (beside them lie lock files). */
export const isDocumentArchive = (name: string): boolean => /_data\.xz$/.test(basename(name));
