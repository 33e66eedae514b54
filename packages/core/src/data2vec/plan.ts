/** The host-side part of a forward pass: which tokens of a batch are masked. */
import { D2vError } from '../errors.js';
import type { Batch } from '../modality/contract.js';
import { Philox } from '../random.js';
import { type MaskInfo, makeMaskInfo } from './masking/index.js';
import type { ModalityEncoder, TokenLayout } from './modality-encoder.js';

export interface PlanOptions {
  /** Name or key of the modality. */
  modality: string;
  /** 0-based number of the update that is being computed. */
  update: number;
  /** Place of the batch's first sample within the update (over all micro-batches). */
  firstSample: number;
  /** Masks to use instead of drawn ones, `[samples * clone_batch, tokens]`, 1 = masked. */
  mask?: Uint8Array;
  /** Noise to use at masked places instead of a drawn one, `[rows, masked, width]` (comparisons only). */
  noise?: Float32Array;
}

/** A batch with its masks: what `forward` computes on. */
export interface PlannedBatch {
  readonly batch: Batch;
  /** Key of the modality, e.g. `IMAGE`. */
  readonly key: string;
  readonly layout: TokenLayout;
  readonly mask: MaskInfo;
  /** Number of masked tokens in all rows. */
  readonly sampleSize: number;
  readonly update: number;
  readonly firstSample: number;
  readonly noise?: Float32Array;
}

/**
 * Draws the masks of a batch. They depend on the seed, the update and the samples' places in it only, so that a batch that
 * is cut into micro-batches is masked as the whole would be.
 */
export function planBatch(
  encoder: ModalityEncoder,
  clones: number,
  seed: number,
  batch: Batch,
  options: PlanOptions,
): PlannedBatch {
  const { update, firstSample, noise } = options;
  const layout = encoder.layout(batch);
  const rows = layout.samples * clones;
  const root = new Philox(seed);
  const forRow = (label: string) => (row: number) =>
    root.fork(label, update, firstSample + Math.floor(row / clones), row % clones);
  const { mask_prob: most, mask_prob_min: least, keep_masked_pct: keepMaskedPct } = encoder.config;
  const prob = least !== null && least < most ? root.fork('mask-prob', update).uniform(least, most) : most;
  if (!options.mask && prob === 0)
    throw new D2vError('mask_prob is 0: pretraining needs masked tokens, raise it');
  const drawn = options.mask ?? encoder.drawMask(layout, clones, prob, forRow('mask'));
  const random = options.mask ? undefined : forRow('mask-keep');
  const mask = makeMaskInfo(drawn, rows, layout.tokens, { keepMaskedPct, random });
  const sampleSize = rows * mask.maskedPerRow;
  return { batch, key: encoder.key, layout, mask, sampleSize, update, firstSample, noise };
}
