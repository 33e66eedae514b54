import type { Sample } from '@d2v/core';
import { expect, it } from 'vitest';
import { collateClips } from './collate.js';

const clip = (length: number, id: number, crop?: number): Sample => ({
  id,
  label: id % 2 ? id : undefined,
  tensors: {
    source: { data: Float32Array.from({ length }, (_, i) => 10 * id + i), shape: [length] },
    ...(crop === undefined ? {} : { crop: { data: Float32Array.of(crop), shape: [1] } }),
  },
});

it('pads clips for features, and marks it', () => {
  const { tensors, labels, ids, size } = collateClips([clip(4, 1), clip(2, 2)], { enable_padding: false });
  expect(tensors.source).toEqual({ data: Float32Array.of(10, 11, 12, 13, 20, 21, 0, 0), shape: [2, 4] });
  expect(tensors.padding).toEqual({ data: Uint8Array.of(0, 0, 0, 0, 0, 0, 1, 1), shape: [2, 4] });
  expect([[...labels!], ids, size]).toEqual([[1, -1], [1, 2], 2]);
});

it('crops clips for training to the shortest, each at its place', () => {
  const clips = [clip(5, 1, 0), clip(5, 2, 0.5), clip(5, 3, 0.9999), clip(3, 4, 0.7)];
  const { tensors } = collateClips(clips, { enable_padding: false });
  expect(tensors.padding).toBeUndefined();
  expect([...tensors.source!.data]).toEqual([10, 11, 12, 21, 22, 23, 32, 33, 34, 40, 41, 42]);
  expect(tensors.source!.shape).toEqual([4, 3]);
});

it('pads them with enable_padding', () => {
  const { tensors } = collateClips([clip(3, 1, 0.2), clip(1, 2, 0.2)], { enable_padding: true });
  expect([...tensors.padding!.data]).toEqual([0, 0, 0, 0, 1, 1]);
});

it('needs no padding for clips of one length', () => {
  expect(collateClips([clip(2, 1), clip(2, 2)], { enable_padding: false }).tensors.padding).toBeUndefined();
});
