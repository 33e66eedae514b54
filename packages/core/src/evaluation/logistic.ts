/** Multinomial logistic regression as a function to be minimised. */
import * as raw from '@d2v/cuda-kernels';
import { lbfgs } from './lbfgs.js';

/** Mean cross-entropy + strength / 2 * |W|^2 (not the bias), with the samples kept on the device. */
export class LogisticProblem {
  private readonly x: raw.RawTensor;
  private readonly y: raw.RawTensor;

  constructor(
    data: Float32Array,
    labels: Int32Array,
    private readonly dim: number,
    private readonly classes: number,
    private readonly device: string,
  ) {
    this.x = raw.fromArray(data, [labels.length, dim], { device });
    this.y = raw.fromArray(labels, [labels.length], { device });
  }

  /** @param start and result: weights [classes, dim], then biases [classes] */
  solve(start: Float64Array, strength: number, maxIterations: number): Float64Array {
    return lbfgs((w, gradient) => this.evaluate(w, strength, gradient), start, { maxIterations }).x;
  }

  private evaluate(w: Float64Array, strength: number, gradient: Float64Array): number {
    const { x, y, dim, classes, device } = this;
    const split = classes * dim;
    const loss = raw.scope(() => {
      const weight = raw.fromArray(Float32Array.from(w.subarray(0, split)), [classes, dim], { device });
      const bias = raw.fromArray(Float32Array.from(w.subarray(split)), [classes], { device });
      const { y: logits } = raw.linear(x, weight, bias);
      const result = raw.crossEntropy(logits, y, { gradScale: 1 / y.size });
      const dWeight = raw.zeros([classes, dim], 'f32', device);
      const dBias = raw.zeros([classes], 'f32', device);
      raw.linearGradWeight_(dWeight, result.dlogits, x, dBias);
      gradient.set(raw.toArray(dWeight) as Float32Array, 0);
      gradient.set(raw.toArray(dBias) as Float32Array, split);
      return raw.item(result.loss) / y.size;
    });
    let penalty = 0;
    for (let i = 0; i < split; i++) {
      penalty += w[i]! * w[i]!;
      gradient[i] = gradient[i]! + strength * w[i]!;
    }
    return loss + 0.5 * strength * penalty;
  }

  dispose(): void {
    this.x.dispose();
    this.y.dispose();
  }
}
