/** Small copies of what is published of OpenWebText: an archive of archives, and the hub's list with its parquet files. */
import { createHash } from 'node:crypto';
import { type DatasetFile, Philox } from '@d2v/core';
import { type FaultServer, makeTar } from '@d2v/core/testing';
import { parquetWriteBuffer } from 'hyparquet-writer';
import lzma from 'lzma-native';
import { ARCHIVE } from '../published.js';

const WORDS =
  'the of river stone bridge market winter candle silver garden people government said new time year world city house water'.split(
    ' ',
  );

/** A document of some paragraphs, the same in every process. */
export function documentOf(number: number): string {
  const rng = new Philox(7).fork('document', String(number));
  const sentence = () =>
    Array.from({ length: 5 + rng.int(20) }, () => WORDS[rng.int(WORDS.length)]!).join(' ');
  const paragraph = () => `${Array.from({ length: 1 + rng.int(4) }, sentence).join('. ')}.`;
  return Array.from({ length: 1 + rng.int(6) }, paragraph).join('\n\n');
}

/** What the web holds beside plain documents. */
export const ODD_DOCUMENTS: readonly Buffer[] = [
  Buffer.from('  one\r\n\r\n\r\n\r\ntwo \t\n three  \n'),
  Buffer.from([0xef, 0xbb, 0xbf, ...Buffer.from('marked')]),
  Buffer.from([...Buffer.from('caf'), 0xe9, ...Buffer.from(' latin')]),
  Buffer.from('zero \0 bytes'),
  Buffer.from(' \n\n \t'),
];

/** The tar of documents that an entry of the archive is. */
export function documentTar(subset: string, documents: readonly (string | Uint8Array)[]): Buffer {
  return makeTar(
    documents.map((content, i) => ({
      path: `${String(i).padStart(7, '0')}-${createHash('md5').update(`${subset} ${i}`).digest('hex')}.txt`,
      content,
    })),
  );
}

export const xz = (bytes: Uint8Array): Promise<Buffer> =>
  new Promise((resolve) => lzma.compress(Buffer.from(bytes), 1, resolve));

/** Documents of each archive in the copy. */
export const PER_ARCHIVE = 25;

/** `openwebtext.tar.xz` with so many archives; the last one holds the odd documents, too. */
export async function webTextArchive(archives: number, perArchive = PER_ARCHIVE): Promise<Buffer> {
  const entries: { path: string; content: Buffer }[] = [];
  for (let a = 0; a < archives; a++) {
    const documents: (string | Buffer)[] = Array.from({ length: perArchive }, (_, i) =>
      documentOf(a * perArchive + i),
    );
    if (a === archives - 1) documents.push(...ODD_DOCUMENTS);
    const name = `urlsf_subset00-${a + 1}_data.xz`;
    entries.push({ path: `openwebtext/${name}`, content: await xz(documentTar(name, documents)) });
    // As the published archive has them.
    entries.push({ path: `openwebtext/${name}.lock`, content: Buffer.alloc(0) });
  }
  return xz(makeTar(entries));
}

/** What would be published of such an archive. */
export const archiveFile = (content: Uint8Array): DatasetFile => ({
  name: ARCHIVE,
  urls: [`https://zenodo.invalid/${ARCHIVE}`],
  bytes: content.length,
  checksums: { sha256: createHash('sha256').update(content).digest('hex') },
});

/** A parquet file as the hub has it: one column of text, row groups of so many rows. */
export const webTextParquet = (documents: readonly string[], rowGroupSize: number): Buffer =>
  Buffer.from(
    parquetWriteBuffer({
      columnData: [{ name: 'text', data: [...documents], type: 'STRING' }],
      rowGroupSize,
    }),
  );

/** Serves the hub's list of files and the files, as a mirror of the hub. @returns the files' contents by path */
export function serveHub(server: FaultServer, files: number, perFile: number): Map<string, Buffer> {
  const contents = new Map<string, Buffer>();
  for (let f = 0; f < files; f++) {
    const documents = Array.from({ length: perFile }, (_, i) => documentOf(f * perFile + i));
    const path = `plain_text/train-${String(f).padStart(5, '0')}-of-${String(files).padStart(5, '0')}.parquet`;
    contents.set(path, webTextParquet(documents, Math.ceil(perFile / 3)));
  }
  const list = [...contents].map(([path, content]) => ({
    type: 'file',
    oid: createHash('sha1').update(content).digest('hex'),
    size: content.length,
    lfs: { oid: createHash('sha256').update(content).digest('hex'), size: content.length, pointerSize: 134 },
    path,
  }));
  server.serve('/api/datasets/Skylion007/openwebtext/tree/main/plain_text', JSON.stringify(list));
  for (const [path, content] of contents)
    server.serve(`/datasets/Skylion007/openwebtext/resolve/main/${path}`, content);
  return contents;
}
