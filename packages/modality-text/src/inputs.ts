/** Opening text named by the user, to get its features: in memory, in the given order. */
import {
  BadSampleError,
  D2vError,
  type DataConfig,
  type DataSource,
  type OpenInputsOptions,
  type Sample,
} from '@d2v/core';
import { findText } from './corpus/files.js';
import { type Piece, readCorpus } from './corpus/read.js';
import type { TextDataConfig } from './data-config.js';
import { BOS, EOS } from './special-tokens.js';
import { makeTokenizer, tokenizerFiles } from './tokenizer/open.js';
import { TokenList } from './tokenizer/tokenizer.js';

/** A sample's place in all tokens, and where it is from. */
interface Entry {
  start: number;
  end: number;
  name: string;
  className: string | null;
  /** Index of its file. */
  file: number;
  /** Stands for a file that is damaged: why. */
  damage?: string;
}

/**
 * A sample per line, record or file; long ones give several. Empty lines give none. A file that cannot be read to its end
 * gives one sample, which is bad.
 * @throws D2vError if no file has text
 */
export async function openTextInputs(
  paths: readonly string[],
  data: TextDataConfig & DataConfig,
  { assets, log = () => {} }: Partial<OpenInputsOptions> = {},
): Promise<DataSource> {
  const tokenizer = assets
    ? makeTokenizer(assets, 'the checkpoint')
    : makeTokenizer(tokenizerFiles(named(data)), named(data));
  const files = (await Promise.all(paths.map((path) => findText(path)))).flat();
  const tokens = new TokenList();
  let entries: Entry[] = [];
  const most = data.tokens_per_sample - 1;
  let open: { start: number; piece: Piece } | null = null;
  const onPiece = (piece: Piece) => {
    open ??= { start: tokens.length, piece };
    tokenizer.encode(piece.text, tokens);
    if (piece.endsFirst) {
      tokens.push(EOS);
      tokens.push(EOS);
    }
    if (!piece.endsItem) return;
    tokens.push(EOS);
    const { start } = open;
    const parts = Math.ceil((tokens.length - start) / most);
    for (let part = 0; part < parts; part++) {
      const from = start + part * most;
      const place = `${files[piece.file]!.name}:${piece.line}`;
      entries.push({
        start: from,
        end: Math.min(tokens.length, from + most),
        name: parts > 1 ? `${place} (${part + 1}/${parts})` : place,
        className: piece.className,
        file: piece.file,
      });
    }
    open = null;
  };
  const onDamaged = (file: number, damage: string) => {
    open = null;
    entries = entries.filter((entry) => entry.file !== file);
    const { name } = files[file]!;
    entries.push({ start: tokens.length, end: tokens.length, name, className: null, file, damage });
  };
  await readCorpus(files, data, { onPiece, log, onDamaged });
  if (entries.length === 0) throw new D2vError(`there is no text in ${paths.join(', ') || 'no files'}`);
  const classes = [...new Set(entries.flatMap(({ className }) => className ?? []))].sort();
  const label = (index: number) => classes.indexOf(entries[index]!.className ?? '');
  return {
    length: entries.length,
    name: paths.join(', '),
    ...(classes.length > 0 && { classes, label }),
    async get(index): Promise<Sample> {
      const { start, end, name, damage } = entries[index]!;
      if (damage !== undefined) throw new BadSampleError(name, damage);
      const ids = new Int32Array(end - start + 1);
      ids[0] = BOS;
      ids.set(tokens.view(start, end), 1);
      const number = label(index);
      return {
        tensors: { source: { data: ids, shape: [ids.length] } },
        ...(number >= 0 && { label: number }),
        id: index,
      };
    },
    describe: (index) => entries[index]!.name,
    sizes: () => Float64Array.from(entries, ({ start, end }) => end - start + 1),
    assets: () => tokenizer.files,
  };
}

function named({ tokenizer }: TextDataConfig): string {
  if (tokenizer !== null) return tokenizer;
  throw new D2vError('no tokenizer: the model has none with it, so name one with data.tokenizer');
}
