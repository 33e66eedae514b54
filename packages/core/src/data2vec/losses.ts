/** The loss terms of a batch (data2vec 2.0, sections 3.1 and 3.2): sums over elements, under the reference's names. */

import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import type { Batch } from '../modality/contract.js';
import type { Tensor } from '../tensor/index.js';
import { maskedLoss, slice } from '../tensor/ops.js';
import type { ModelConfig } from './config.js';
import type { DeviceMask } from './device-mask.js';
import type { ModalityEncoder } from './modality-encoder.js';
import type { Pass } from './pass.js';
import type { Student } from './student.js';

export interface LossInput {
  student: Student;
  encoder: ModalityEncoder;
  batch: Batch;
  /** The encoder's output [R,E+K,D]. */
  x: Tensor;
  /** Predictions [R,N,D], one per decoder. */
  predictions: readonly Tensor[];
  /** f32 [B,T,D] */
  target: RawTensor;
  mask: DeviceMask;
  /** Masked tokens in all micro-batches of the update. */
  totalSampleSize: number;
}

/** Factor per element: `loss_scale`, or one over the square root of the width. */
function elementScale(config: ModelConfig, width: number): number {
  return config.loss_scale ?? 1 / Math.sqrt(width);
}

/** All loss terms with a weight above 0. */
export function lossTerms(input: LossInput, config: ModelConfig, pass: Pass): Map<string, Tensor> {
  const { encoder, predictions, target, mask } = input;
  const beta = config.loss_beta;
  const terms = new Map<string, Tensor>();
  if (config.cls_loss > 0) terms.set('cls', classLoss(input, config, pass));
  if (config.recon_loss > 0) terms.set('recon', reconLoss(input, config, pass));
  if (config.d2v_loss > 0) {
    for (const [i, prediction] of predictions.entries()) {
      const scale = elementScale(config, prediction.shape.at(-1)!) * config.d2v_loss;
      const name = `${encoder.key}_regression${predictions.length > 1 ? `_${i}` : ''}`;
      terms.set(name, maskedLoss(prediction, target, mask.masked, { beta, scale }));
    }
  }
  if (terms.size === 0) throw new D2vError('d2v_loss, cls_loss and recon_loss are all 0: set one of them');
  return terms;
}

/**
 * The class token against the mean target of the sample. It is weighted with the number of masked tokens, so that it does
 * not shrink against the main loss, which is divided by that number.
 */
function classLoss({ x, target, mask, totalSampleSize }: LossInput, config: ModelConfig, pass: Pass): Tensor {
  const [rows, length, width] = x.shape as [number, number, number];
  const extra = length - mask.info.keptPerRow;
  if (extra === 0)
    throw new D2vError('cls_loss needs an extra token: set num_extra_tokens to 1, or cls_loss to 0');
  const prediction = slice(x, 1, extra - 1, 1);
  const mean = pass.own(k.meanTokens(target, 0));
  const first = pass.upload({ data: new Int32Array(rows), shape: [rows, 1] });
  const scale = elementScale(config, width) * config.cls_loss * totalSampleSize;
  const wanted = pass.own(mean.reshape([mean.shape[0]!, 1, width]));
  const loss = maskedLoss(prediction, wanted, first, { beta: config.loss_beta, scale });
  prediction.dispose();
  return loss;
}

/** The first decoder's predictions, projected, against the normalised input. */
function reconLoss(
  { student, encoder, batch, predictions, mask }: LossInput,
  config: ModelConfig,
  pass: Pass,
): Tensor {
  const target = encoder.reconTargets(batch, pass);
  const prediction = student.reconProj!.forward(predictions[0]!);
  const scale = elementScale(config, prediction.shape.at(-1)!) * config.recon_loss;
  const loss = maskedLoss(prediction, target, mask.masked, { beta: config.loss_beta, scale });
  prediction.dispose();
  target.dispose();
  return loss;
}
