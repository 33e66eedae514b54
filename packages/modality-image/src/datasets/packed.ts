/** The samples of a prepared dataset. */
import type { DataSource, OpenDataOptions } from '@d2v/core';
import type { ImageDataConfig } from '../data-config.js';
import type { RawImage } from '../raw-image.js';
import { applyPlan, planTransform } from '../transforms.js';
import type { Pack } from './pack.js';

/** One part of a pack as a source of training or evaluation samples. */
export function packedSource(pack: Pack, split: OpenDataOptions['split'], data: ImageDataConfig): DataSource {
  const { header, labels, heldOut, pixels } = pack;
  const { width, height, channels } = header;
  const size = width * height * channels;
  const wanted = split === 'all' ? null : split === 'valid' ? 1 : 0;
  const members: number[] = [];
  for (let i = 0; i < header.count; i++) if (wanted === null || heldOut[i] === wanted) members.push(i);
  const image = (member: number): RawImage => ({
    width,
    height,
    channels,
    data: pixels.subarray(member * size, (member + 1) * size),
  });
  return {
    length: members.length,
    name: header.name,
    classes: header.classes,
    license: header.license,
    describe: (index) => `${header.name}/${header.names?.[members[index]!] ?? members[index]}`,
    label: (index) => labels[members[index]!]!,
    async get(index, rng, mode) {
      const member = members[index]!;
      const plan = planTransform(width, height, data, rng, mode);
      return { tensors: { source: applyPlan(image(member), plan, data) }, label: labels[member], id: index };
    },
  };
}
