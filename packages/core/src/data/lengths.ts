import { D2vError } from '../errors.js';
import type { DataSource } from '../modality/contract.js';

/**
 * The length of each sample of a source, in its modality's unit; null if it tells none. Where it cannot tell a single
 * one (0 or NaN), the average stands.
 * @throws D2vError if there are more or fewer lengths than samples, or no usable one
 */
export function lengthsOf(source: DataSource): Float64Array | null {
  const sizes = source.sizes?.();
  if (!sizes) return null;
  if (sizes.length !== source.length) {
    throw new D2vError(`${source.name} has ${source.length} samples but tells ${sizes.length} lengths`);
  }
  const isKnown = (size: number) => size > 0 && Number.isFinite(size);
  let sum = 0;
  let known = 0;
  for (const size of sizes) {
    if (!isKnown(size)) continue;
    sum += size;
    known++;
  }
  if (known === 0 && sizes.length > 0) throw new D2vError(`no sample of ${source.name} has a length above 0`);
  return known === sizes.length ? sizes : sizes.map((size) => (isKnown(size) ? size : sum / known));
}
