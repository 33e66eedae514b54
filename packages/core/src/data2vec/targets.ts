/** What the student predicts: the average of the teacher's top layers, normalised (data2vec 2.0, section 3.1). */

import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import type { ModelConfig } from './config.js';

export type TargetConfig = Pick<
  ModelConfig,
  | 'average_top_k_layers'
  | 'batch_norm_target_layer'
  | 'instance_norm_target_layer'
  | 'layer_norm_target_layer'
  | 'layer_norm_targets'
  | 'instance_norm_targets'
>;

/** All target norms have no affine part, biased variance and this epsilon. */
const EPS = 1e-5;

type LayerNormKind = 'batch' | 'instance' | 'layer';

/**
 * Adds up normalised teacher layers as they are computed, so that never more than one of them is in memory.
 * Use: `start`, `add` for every layer in order, `finish`.
 */
export class TargetBuilder {
  private readonly norms: LayerNormKind[] = [];
  private sum: RawTensor | null = null;

  /** @param depth number of layers that will be added */
  constructor(
    private readonly config: TargetConfig,
    private readonly depth: number,
  ) {
    if (config.batch_norm_target_layer) this.norms.push('batch');
    if (config.instance_norm_target_layer) this.norms.push('instance');
    if (config.layer_norm_target_layer) this.norms.push('layer');
  }

  /** How many layers from the top are averaged. */
  get layers(): number {
    return Math.min(this.config.average_top_k_layers, this.depth);
  }

  /** Whether layer `index` (0 = lowest) is part of the target. */
  wants(index: number): boolean {
    return index >= this.depth - this.layers;
  }

  /**
   * Adds a layer if it is wanted.
   * @param layer `[B, skip + T, D]`
   * @param skip extra tokens in front, left out
   */
  add(index: number, layer: RawTensor, skip: number): void {
    if (!this.wants(index)) return;
    const [rows, length, dim] = layer.shape as [number, number, number];
    const shape = [rows, length - skip, dim];
    this.sum ??= k.keep(k.zeros(shape, 'f32', layer.device));
    k.scope(() => {
      // All but the last norm of a chain go into a buffer of their own.
      let current = layer;
      let rest = skip;
      for (const norm of this.norms.slice(0, -1)) {
        const normalised = k.zeros(shape, 'f32', layer.device);
        k.accumulateTarget_(normalised, current, { skip: rest, norm, scale: 1, eps: EPS });
        current = normalised;
        rest = 0;
      }
      const norm = this.norms.at(-1) ?? 'none';
      k.accumulateTarget_(this.sum!, current, { skip: rest, norm, scale: 1 / this.layers, eps: EPS });
    });
  }

  /** The target, f32 `[B, T, D]`, which the caller disposes of. The builder can then be used again. */
  finish(): RawTensor {
    let target = this.sum!;
    this.sum = null;
    if (this.config.layer_norm_targets) {
      const { y, sum, mean, rstd } = k.layerNorm(target, { eps: EPS });
      for (const t of [sum, mean, rstd, target]) t.dispose();
      target = y;
    }
    if (this.config.instance_norm_targets) {
      const y = k.instanceNorm(target, EPS);
      target.dispose();
      target = y;
    }
    return target;
  }

  /** Frees what has been added so far. */
  dispose(): void {
    this.sum?.dispose();
    this.sum = null;
  }
}
