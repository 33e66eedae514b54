/** Small copies of CIFAR's binary archives. */
import { gzipSync } from 'node:zlib';
import { Philox } from '@d2v/core';
import { makeTar } from '@d2v/core/testing';

const PLANE = 32 * 32;
export const RECORDS = { batch: 8, test: 10 } as const;

/** Pixel planes of a record, the same in every process; the class decides about the direction of its stripes. */
export function planes(label: number, seed: number): Uint8Array {
  const rng = new Philox(3).fork(label, seed);
  const frequency = 0.2 + 0.1 * (label % 5);
  const phase = rng.uniform(0, 6);
  return Uint8Array.from({ length: 3 * PLANE }, (_, i) => {
    const [x, y] = [i % 32, Math.floor(i / 32) % 32];
    return 127 + 40 * (1 + Math.floor(i / PLANE)) * Math.sin(frequency * (label % 2 ? x : y) + phase);
  });
}

/** The class of a record. */
export const labelOf = (i: number, classes: number): number => (i * 7) % classes;

function records(count: number, classes: number, seed: number, coarse: boolean): Buffer {
  return Buffer.concat(
    Array.from({ length: count }, (_, i) => {
      const label = labelOf(i, classes);
      return Buffer.from([...(coarse ? [label % 20] : []), label, ...planes(label, seed + i)]);
    }),
  );
}

export function makeCifar10(): Buffer {
  const folder = 'cifar-10-batches-bin';
  const classes = 'airplane automobile bird cat deer dog frog horse ship truck'.split(' ');
  const batches = [1, 2, 3, 4, 5].map((n) => ({
    path: `${folder}/data_batch_${n}.bin`,
    content: records(RECORDS.batch, 10, 1000 * n, false),
  }));
  return gzipSync(
    makeTar([
      ...batches,
      { path: `${folder}/batches.meta.txt`, content: `${classes.join('\n')}\n\n` },
      { path: `${folder}/test_batch.bin`, content: records(RECORDS.test, 10, 9000, false) },
    ]),
  );
}

export function makeCifar100(): Buffer {
  const folder = 'cifar-100-binary';
  const names = (count: number, word: string) =>
    Array.from({ length: count }, (_, i) => `${word}_${i}\n`).join('');
  return gzipSync(
    makeTar([
      { path: `${folder}/train.bin`, content: records(5 * RECORDS.batch, 100, 0, true) },
      { path: `${folder}/test.bin`, content: records(RECORDS.test, 100, 9000, true) },
      { path: `${folder}/fine_label_names.txt`, content: names(100, 'fine') },
      { path: `${folder}/coarse_label_names.txt`, content: names(20, 'coarse') },
    ]),
  );
}
