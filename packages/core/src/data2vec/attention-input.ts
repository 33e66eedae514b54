/** What the attention of each layer gets besides the tokens: padding and biases by distance. */
import type { RawTensor } from '@d2v/cuda-kernels';
import type { AttentionMask } from '../nn/index.js';
import type { DeviceMask } from './device-mask.js';
import type { TokenLayout } from './modality-encoder.js';
import type { Pass } from './pass.js';

/** The same for every layer, or one per layer (prenet blocks first, then the shared ones). */
export class AttentionInput {
  /**
   * @param keyPadding u8 `[rows, tokens]`, 1 = padding; null if there is none
   * @param biases one entry for all layers, one per layer, or none
   */
  constructor(
    readonly keyPadding: RawTensor | null,
    private readonly biases: readonly Pick<AttentionMask, 'alibi' | 'bias'>[] = [],
  ) {}

  /** The input of a layer. */
  at(layer: number): AttentionMask {
    const bias = this.biases.length > 1 ? this.biases[layer] : this.biases[0];
    return { keyPadding: this.keyPadding, ...bias };
  }
}

/**
 * The padding of what the student sees: extra tokens (never padding), then the kept tokens or all of them.
 * @returns u8 `[rows, extra + kept]`, or null if none of them is padding
 */
export function keptPadding(
  padding: Uint8Array,
  { samples, tokens }: TokenLayout,
  extra: number,
  mask: DeviceMask | null,
  clones: number,
  pass: Pass,
): RawTensor | null {
  const rows = samples * clones;
  const kept = mask ? mask.info.keptPerRow : tokens;
  const width = extra + kept;
  const flags = new Uint8Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const from = Math.floor(row / clones) * tokens;
    for (let i = 0; i < kept; i++) {
      flags[row * width + extra + i] = padding[from + (mask ? mask.info.keep[row * kept + i]! : i)]!;
    }
  }
  return flags.includes(1) ? pass.upload({ data: flags, shape: [rows, width] }) : null;
}
