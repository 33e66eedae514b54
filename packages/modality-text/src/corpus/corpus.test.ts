import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { findText, folderClass } from './files.js';
import { LineCutter, type LinePart } from './lines.js';
import { type CorpusOptions, LONGEST_PIECE, type Piece, readCorpus } from './read.js';

const root = mkdtempSync(join(tmpdir(), 'd2v-corpus-'));
afterAll(() => rmSync(root, { recursive: true }));

let number = 0;
function file(name: string, content: string | Uint8Array): string {
  const folder = join(root, String(number++));
  mkdirSync(folder);
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

const plain: CorpusOptions = {
  item: 'line',
  field: 'text',
  pair_field: null,
  label_field: null,
  label: 'none',
};

async function read(path: string, options: Partial<CorpusOptions> = {}) {
  const pieces: Piece[] = [];
  const logged: string[] = [];
  const report = await readCorpus(
    await findText(path),
    { ...plain, ...options },
    { onPiece: (piece) => pieces.push(piece), log: (line) => logged.push(line) },
  );
  return { pieces, logged, ...report };
}
const texts = (pieces: Piece[]) => pieces.map(({ text }) => text);

describe('lines', () => {
  function cut(chunks: string[], longest: number, byLine = true): LinePart[] {
    const parts: LinePart[] = [];
    const cutter = new LineCutter(longest, byLine, (part) => parts.push(part));
    for (const chunk of chunks) cutter.push(chunk);
    cutter.end();
    return parts;
  }

  it('come out the same however the text arrives, and nothing is lost', () => {
    const unit = fc.constantFrom(...'ab \n\t', 'é', '😀');
    const chunks = fc.array(fc.string({ unit, maxLength: 12 }), { maxLength: 12 });
    fc.assert(
      fc.property(chunks, fc.integer({ min: 2, max: 9 }), (list, longest) => {
        const parts = cut(list, longest);
        const whole = list.join('');
        const lines: string[] = [];
        for (const { text, first } of parts) {
          expect(text.length).toBeLessThanOrEqual(longest);
          if (first) lines.push(text);
          else lines[lines.length - 1] += text;
        }
        expect(lines).toEqual(whole === '' ? [] : whole.replace(/\n$/, '').split('\n'));
        // No character is cut in two.
        for (const { text } of parts) expect(Buffer.from(text).toString()).toBe(text);
        expect(parts.filter(({ last }) => last)).toHaveLength(lines.length);
        expect(cut([whole], longest).map(({ line }) => line)).toEqual(parts.map(({ line }) => line));
      }),
    );
  });

  it('are cut between words if there are any', () => {
    expect(cut(['one two  three'], 9).map(({ text }) => text)).toEqual(['one two ', ' three']);
    expect(cut(['onetwothree'], 4).map(({ text }) => text)).toEqual(['onet', 'woth', 'ree']);
  });
});

describe('plain text', () => {
  it('is a piece per line, with documents between empty lines', async () => {
    const { pieces } = await read(file('a.txt', '\n  one \ntwo\r\n \n\nthree'));
    expect(pieces.map(({ text, line, startsDocument }) => [text, line, startsDocument])).toEqual([
      ['one', 2, true],
      ['two', 3, false],
      ['three', 6, true],
    ]);
    expect(pieces.every(({ endsItem }) => endsItem)).toBe(true);
  });

  it('can be taken as a whole', async () => {
    const { pieces } = await read(file('a.txt', ' one\n\ntwo \n'), { item: 'file' });
    expect(texts(pieces)).toEqual(['one\n\ntwo']);
  });

  it('of nothing or of white space only gives nothing', async () => {
    for (const content of ['', '\n\n', '  \t \n \u00a0\n', ' '.repeat(3 * LONGEST_PIECE)]) {
      expect((await read(file('a.txt', content))).pieces).toEqual([]);
    }
  });

  it('reads a line of 50 MB in parts of bounded size', { timeout: 60_000 }, async () => {
    const word = 'lorem ipsum dolor sit amet ';
    const path = file('long.txt', word.repeat(Math.ceil((50 << 20) / word.length)));
    let characters = 0;
    let longest = 0;
    let ends = 0;
    await readCorpus(await findText(path), plain, {
      log() {},
      onPiece({ text, endsItem }) {
        characters += text.length;
        longest = Math.max(longest, text.length);
        ends += endsItem ? 1 : 0;
        if (!endsItem) expect(text.endsWith(' ')).toBe(false);
      },
    });
    expect(characters).toBeGreaterThan(50 << 20);
    expect(longest).toBeLessThanOrEqual(LONGEST_PIECE);
    expect(ends).toBe(1);
  });

  it('says where bytes are no UTF-8, and reads on', async () => {
    const { pieces, logged } = await read(file('a.txt', Buffer.from('caf\xe9 noir\nnext', 'latin1')));
    expect(texts(pieces)).toEqual(['caf\uFFFD noir', 'next']);
    expect(logged).toHaveLength(1);
    expect(logged[0]).toMatch(/a\.txt: bytes that are no UTF-8 are read as U\+FFFD/);
  });

  it('keeps characters whole that lie across parts of a file', async () => {
    const content = `x${'é'.repeat(1 << 20)}`;
    const { pieces, logged } = await read(file('a.txt', content));
    expect(texts(pieces).join('')).toBe(content);
    expect(logged).toEqual([]);
  });

  it('leaves out the mark of byte order', async () => {
    expect(texts((await read(file('a.txt', '\uFEFFone\n'))).pieces)).toEqual(['one']);
  });
});

describe('damaged files', () => {
  it.each([
    ['UTF-16', 'a.txt', Buffer.from('\uFEFFhello', 'utf16le'), /is UTF-16: convert it to UTF-8/, 0],
    ['no text', 'a.txt', Buffer.from([65, 0, 66]), /is no text: it has zero bytes/, 0],
    ['no gzip', 'a.txt.gz', Buffer.from('plain'), /the gzip data is damaged/, 0],
  ])('are reported: %s', async (_, name, content, message, count) => {
    const { pieces, damaged, logged } = await read(file(name, content));
    expect(damaged.map(({ name: found }) => found)).toEqual([name]);
    expect(damaged[0]!.reason).toMatch(message);
    expect(logged.at(-1)).toMatch(/; used up to there$/);
    expect(pieces).toHaveLength(count);
  });

  it('are read up to where they are cut off', async () => {
    const lines = Array.from({ length: 50_000 }, (_, i) => `line ${i} ${(i * 7919) % 1009}`);
    const whole = gzipSync(`${lines.join('\n')}\n`);
    const { pieces, damaged } = await read(file('a.txt.gz', whole.subarray(0, whole.length / 2)));
    expect(damaged[0]!.reason).toMatch(/a\.txt\.gz cannot be read: the gzip data is cut off/);
    expect(pieces.length).toBeGreaterThan(0);
    expect(pieces[0]!.text).toBe(lines[0]);
    expect(pieces.length).toBeLessThan(50_000);
    expect(texts((await read(file('b.txt.gz', whole))).pieces)).toEqual(lines);
    // Whatever its name.
    expect(texts((await read(file('c.txt', whole))).pieces)).toEqual(lines);
  });
});

describe('JSONL', () => {
  it('is a document per record', async () => {
    const lines = [
      '{"text": "one\\ntwo", "kind": "a"}',
      '',
      '{"text": "  "}',
      '{"text": "three", "kind": 7}',
    ];
    const { pieces } = await read(file('a.jsonl', `${lines.join('\n')}\n`));
    expect(pieces.map(({ text, line }) => [text, line])).toEqual([
      ['one\ntwo', 1],
      ['three', 4],
    ]);
    expect(pieces.every(({ startsDocument, endsItem }) => startsDocument && endsItem)).toBe(true);
  });

  it('has classes if asked for', async () => {
    const path = file('a.jsonl', '{"text": "x", "kind": "a"}\n{"text": "y", "kind": 7}\n');
    const { pieces } = await read(path, { label_field: 'kind' });
    expect(pieces.map(({ className }) => className)).toEqual(['a', '7']);
  });

  it.each([
    [
      '{"text": "x"}\n{"body": "y"}',
      {},
      /a\.jsonl:2 has no field "text" \(there is: body\): choose one with data\.field/,
    ],
    ['{"texts": "y"}', {}, /a\.jsonl:1 has no field "text" \(did you mean "texts"\?\)/],
    ['{"text": 3}', {}, /a\.jsonl:1: "text" is not a string: choose another with data\.field/],
    [
      '{"text": "x"}',
      { label_field: 'kind' },
      /a\.jsonl:1 has no field "kind".*choose one with data\.label_field/,
    ],
    ['{"text": "x", "kind": []}', { label_field: 'kind' }, /"kind" is neither a string nor a number/],
    ['{"text": "x"', {}, /a\.jsonl:1 is not JSON: /],
    ['["x"]', {}, /a\.jsonl:1 is not a JSON object: a record per line is expected/],
  ])('says what is wrong in which line: %s', async (content, options, message) => {
    await expect(read(file('a.jsonl', content), options)).rejects.toThrow(message);
  });

  it('cuts the text of long records', async () => {
    const text = 'some words '.repeat(200_000).trim();
    const { pieces } = await read(file('a.jsonl', JSON.stringify({ text })));
    expect(pieces.length).toBeGreaterThan(1);
    expect(texts(pieces).join('')).toBe(text);
    expect(pieces.map(({ endsItem }) => endsItem).lastIndexOf(false)).toBe(pieces.length - 2);
    expect(pieces.filter(({ startsDocument }) => startsDocument)).toHaveLength(1);
  });
});

describe('finding files', () => {
  it('takes text from folders, sorted, and passes over the rest', async () => {
    const folder = join(root, 'tree');
    for (const name of ['b/x.txt', 'a/y.JSONL', 'a/z.txt.gz', 'a/image.png', '.hidden/w.txt', 'c.md']) {
      mkdirSync(join(folder, name, '..'), { recursive: true });
      writeFileSync(join(folder, name), '');
    }
    const files = await findText(folder);
    expect(files.map(({ name, jsonl }) => [name, jsonl])).toEqual([
      ['a/y.JSONL', true],
      ['a/z.txt.gz', false],
      ['b/x.txt', false],
      ['c.md', false],
    ]);
    expect(files.map((found) => folderClass(found, 'top'))).toEqual(['a', 'a', 'b', null]);
    const [single] = await findText(join(folder, 'a', 'image.png'));
    expect(folderClass(single!, 'top')).toBe(null);
  });

  it('says when there is nothing', async () => {
    await expect(findText(join(root, 'nowhere'))).rejects.toThrow(/nowhere: no such file or folder/);
    mkdirSync(join(root, 'bare'));
    await expect(findText(join(root, 'bare'))).rejects.toThrow(/bare: no files that end with txt, /);
  });
});
