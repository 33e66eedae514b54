/** The deterministic noise that fixtures use for the decoder's mask tokens. */

/** A hash of 32 bits. */
function mix(value: number): number {
  let x = value >>> 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d) >>> 0;
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b) >>> 0;
  x ^= x >>> 16;
  return x >>> 0;
}

/**
 * The noise of a step: a sum of four bytes per element, which has mean 0 and standard deviation `std`.
 * @param step 0-based
 */
export function stepNoise(seed: number, step: number, size: number, std: number): Float32Array {
  const base = mix((step + mix(seed)) >>> 0);
  const factor = std / Math.sqrt(21845);
  return Float32Array.from({ length: size }, (_, i) => {
    const v = mix((i + base) >>> 0);
    return ((v & 255) + ((v >>> 8) & 255) + ((v >>> 16) & 255) + (v >>> 24) - 510) * factor;
  });
}
