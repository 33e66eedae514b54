/** Documents to tokens, as one part of a token shard: what an encoder thread does. */
import { D2vError, readParquet, readTar } from '@d2v/core';
import { LineCutter } from '../../corpus/lines.js';
import { LONGEST_PIECE } from '../../corpus/read.js';
import { PARTS, type Part, SEPARATOR, STARTS_DOCUMENT } from '../../shards/format.js';
import { EOS } from '../../special-tokens.js';
import { type Tokenizer, TokenList } from '../../tokenizer/tokenizer.js';
import { cleanDocument, isHeldOut } from './clean.js';

/** Where documents come from; `name` is for messages and for `describe`. */
export type EncodeJob = { name: string } & (
  | /** A tar of documents, as it lies in the published archive. */ { kind: 'archive'; bytes: Uint8Array }
  | /** The same as a file. */ { kind: 'file'; path: string }
  | /** Rows of a parquet file. */ { kind: 'rows'; path: string; from: number; rows: number }
);

/** Tokens and items (see `shards/format.ts`) of one part; ready for the disk. */
export interface EncodedPart {
  tokens: Uint16Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
  /** Their file index is 0. */
  items: Int32Array<ArrayBuffer>;
}

/** What was seen; sums over jobs are recorded in `dataset.json`. */
export interface EncodeCounts {
  /** Documents in the shard. */
  documents: number;
  /** Of them held out. */
  valid_documents: number;
  tokens: number;
  valid_tokens: number;
  /** Size of the documents before cleaning, all of them. */
  text_bytes: number;
  /** Left out: nothing but white space. */
  empty_documents: number;
  /** Left out: no text. */
  binary_documents: number;
  /** With bytes that are no UTF-8, read as U+FFFD. */
  replaced_documents: number;
}

export interface EncodedJob {
  parts: Record<Part, EncodedPart>;
  counts: EncodeCounts;
  /** Processor time that it took its thread. */
  busyMs: number;
}

export interface EncodeOptions {
  tokenizer: Tokenizer;
  validShare: number;
}

export const noCounts = (): EncodeCounts => ({
  documents: 0,
  valid_documents: 0,
  tokens: 0,
  valid_tokens: 0,
  text_bytes: 0,
  empty_documents: 0,
  binary_documents: 0,
  replaced_documents: 0,
});

/** @throws D2vError naming the file that cannot be read */
export async function encodeJob(job: EncodeJob, options: EncodeOptions): Promise<EncodedJob> {
  const start = performance.now();
  const parts = { train: new PartBuffer(), valid: new PartBuffer() };
  const counts = noCounts();
  for await (const { content, line } of documentsOf(job)) {
    counts.text_bytes += typeof content === 'string' ? Buffer.byteLength(content) : content.length;
    const text = cleanDocument(content);
    if (text === null) counts.binary_documents++;
    else if (text === '') counts.empty_documents++;
    else {
      counts.documents++;
      if (text.includes('\uFFFD')) counts.replaced_documents++;
      const heldOut = isHeldOut(text, options.validShare);
      if (heldOut) counts.valid_documents++;
      parts[heldOut ? 'valid' : 'train'].add(text, line, options.tokenizer);
    }
  }
  counts.valid_tokens = parts.valid.length;
  counts.tokens = parts.train.length + parts.valid.length;
  const narrow = options.tokenizer.vocabSize <= 2 ** 16;
  const [train, valid] = PARTS.map((part) => parts[part].finish(narrow));
  return { parts: { train: train!, valid: valid! }, counts, busyMs: performance.now() - start };
}

interface Document {
  content: Uint8Array | string;
  /** 1-based place among the documents of its file. */
  line: number;
}

async function* documentsOf(job: EncodeJob): AsyncGenerator<Document> {
  if (job.kind === 'rows') {
    let line = job.from;
    for await (const { text } of readParquet(job.path, {
      columns: ['text'],
      from: job.from,
      rows: job.rows,
    })) {
      line++;
      if (typeof text !== 'string' && !(text instanceof Uint8Array)) {
        throw new D2vError(`${job.name}: row ${line} has no text in the column "text"`);
      }
      yield { content: text, line };
    }
    return;
  }
  const source = job.kind === 'file' ? job.path : inParts(job.bytes);
  let line = 0;
  for await (const entry of readTar(source, { archive: job.name })) {
    if (entry.name.endsWith('.txt')) yield { content: await entry.read(), line: ++line };
  }
}

async function* inParts({ buffer, byteOffset, byteLength }: Uint8Array): AsyncGenerator<Buffer> {
  yield Buffer.from(buffer, byteOffset, byteLength);
}

/** The tokens of one part: documents with an empty line behind each, every line ended by `</s>`. */
class PartBuffer {
  private readonly list = new TokenList();
  private readonly items: number[] = [];

  get length(): number {
    return this.list.length;
  }

  add(text: string, line: number, tokenizer: Tokenizer): void {
    const { list, items } = this;
    let flags = STARTS_DOCUMENT;
    const cutter = new LineCutter(LONGEST_PIECE, true, ({ text: piece, last }) => {
      const before = list.length;
      tokenizer.encode(piece, list);
      if (last) list.push(EOS);
      items.push(list.length - before, 0, line, -1, flags);
      flags = 0;
    });
    cutter.push(text);
    cutter.end();
    list.push(EOS);
    items.push(1, 0, line, -1, SEPARATOR);
  }

  finish(narrow: boolean): EncodedPart {
    const tokens = narrow ? new Uint16Array(this.list.view()) : new Int32Array(this.list.view());
    return { tokens, items: Int32Array.from(this.items) };
  }
}
