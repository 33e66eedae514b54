/** A picture to draw on: enough for tiles and a few words, without depending on the fonts of the machine. */
import sharp from 'sharp';
import type { RawImage } from '../raw-image.js';

type Color = readonly [number, number, number];

/** Letters of 5 x 7 dots, a row per string; only those that our labels need. */
const GLYPHS: Record<string, string> = {
  a: '..... ..... .###. ....# .#### #...# .####',
  c: '..... ..... .###. #.... #.... #.... .###.',
  e: '..... ..... .###. #...# ##### #.... .###.',
  f: '..##. .#... .#... ###.. .#... .#... .#...',
  g: '..... ..... .#### #...# .#### ....# .###.',
  h: '#.... #.... ####. #...# #...# #...# #...#',
  i: '..#.. ..... .##.. ..#.. ..#.. ..#.. .###.',
  m: '..... ..... ##.#. #.#.# #.#.# #.#.# #.#.#',
  n: '..... ..... ####. #...# #...# #...# #...#',
  p: '..... ..... ####. #...# ####. #.... #....',
  r: '..... ..... #.##. ##... #.... #.... #....',
  s: '..... ..... .#### #.... .###. ....# ####.',
  t: '.#... .#... ###.. .#... .#... .#..# ..##.',
  u: '..... ..... #...# #...# #...# #..## .##.#',
};
const GLYPH_WIDTH = 6;
export const TEXT_HEIGHT = 7;

export class Canvas {
  private readonly data: Uint8Array;

  constructor(
    readonly width: number,
    readonly height: number,
    background: Color,
  ) {
    this.data = new Uint8Array(width * height * 3);
    for (let i = 0; i < this.data.length; i++) this.data[i] = background[i % 3]!;
  }

  /** Places a picture with its upper left corner at (left, top); what lies outside is cut off. */
  draw(image: RawImage, left: number, top: number): void {
    for (let y = 0; y < image.height; y++) {
      for (let x = 0; x < image.width; x++) {
        const source = (y * image.width + x) * image.channels;
        const [r, g, b] = [0, 1, 2].map((c) => image.data[source + (image.channels === 1 ? 0 : c)]!);
        this.dot(left + x, top + y, [r!, g!, b!]);
      }
    }
  }

  /** Writes words of the letters above, each dot `size` pixels wide. */
  write(text: string, left: number, top: number, size: number, color: Color): void {
    for (const [index, letter] of [...text].entries()) {
      const rows = GLYPHS[letter]?.split(' ') ?? [];
      for (const [y, row] of rows.entries()) {
        for (const [x, dot] of [...row].entries()) {
          if (dot !== '#') continue;
          for (let i = 0; i < size * size; i++) {
            const column = left + (index * GLYPH_WIDTH + x) * size + (i % size);
            this.dot(column, top + y * size + Math.floor(i / size), color);
          }
        }
      }
    }
  }

  /** Width of a text in pixels. */
  static textWidth(text: string, size: number): number {
    return (text.length * GLYPH_WIDTH - 1) * size;
  }

  png(): Promise<Uint8Array> {
    const { width, height } = this;
    return sharp(this.data, { raw: { width, height, channels: 3 } })
      .png({ compressionLevel: 9 })
      .toBuffer();
  }

  private dot(x: number, y: number, color: Color): void {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    this.data.set(color, (y * this.width + x) * 3);
  }
}
