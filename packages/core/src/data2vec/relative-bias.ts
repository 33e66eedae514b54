/** The ALiBi bias of a modality: slopes with learned factors, or a whole learned matrix. */
import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import type { AttentionMask } from '../nn/index.js';
import { type Parameter, Tensor } from '../tensor/index.js';
import {
  add,
  concat,
  gatherTokens,
  mul,
  relu,
  repeatRows,
  reshape,
  slice,
  transpose,
} from '../tensor/ops.js';
import { alibiSlopes, type Coordinates, rowCoordinates } from './alibi.js';
import type { ModalityConfig, ModelConfig } from './config.js';
import type { DeviceMask } from './device-mask.js';
import type { Pass } from './pass.js';

/** Just above the smallest normal number: makes the gradient of relu at a factor of exactly 0 be 1, as clamping has it. */
const TINY = 2e-38;

type LayerBias = Pick<AttentionMask, 'alibi' | 'bias'>;

export interface RelativeBiasOptions {
  config: ModalityConfig;
  model: ModelConfig;
  /** Coordinates of the tokens of an unmasked sequence. */
  coordinates: (tokens: number) => Coordinates;
  /** Straight-line distance instead of the sum over dimensions. */
  euclidean: boolean;
}

/**
 * Builds the attention bias of a forward pass. Its parameters belong to the modality encoder itself, under the names
 * `alibi_scale` [layers or 1, 1, heads or 1, 1, 1] and, with `learned_alibi`, `alibi_bias` [1, heads, P, P].
 */
export class RelativeBias {
  readonly heads: number;
  readonly layers: number;
  readonly scaleShape: readonly number[];
  private readonly all: number;

  constructor(private readonly options: RelativeBiasOptions) {
    const { config, model } = options;
    this.all = model.num_heads;
    this.heads = config.num_alibi_heads ?? model.num_heads;
    if (this.heads > this.all) {
      throw new D2vError(`num_alibi_heads is ${this.heads}, but the model has ${this.all} heads: lower it`);
    }
    this.layers = config.learned_alibi_scale_per_layer
      ? config.prenet_depth + (config.model_depth ?? model.depth)
      : 1;
    this.scaleShape = [this.layers, 1, config.learned_alibi_scale_per_head ? this.heads : 1, 1, 1];
    if (config.learned_alibi && config.alibi_max_pos === null) {
      throw new D2vError('learned_alibi needs alibi_max_pos, the number of positions of the learned matrix');
    }
  }

  /** The initial `alibi_bias`: plain ALiBi over the first `alibi_max_pos` positions. */
  initialMatrix(): { shape: number[]; values: () => Float32Array } {
    const positions = this.options.config.alibi_max_pos!;
    return {
      shape: [1, this.heads, positions, positions],
      values: () => {
        const slopes = alibiSlopes(this.heads);
        const distances = this.distances(positions);
        return Float32Array.from(
          { length: this.heads * positions * positions },
          (_, i) => -slopes[Math.floor(i / distances.length)]! * distances[i % distances.length]!,
        );
      },
    };
  }

  /**
   * The biases of a pass, one per layer if the factors are, else one for all.
   * @param matrix the learned matrix, or null
   */
  build(
    scale: Parameter,
    matrix: Parameter | null,
    tokens: number,
    samples: number,
    extra: number,
    mask: DeviceMask | null,
    pass: Pass,
  ): LayerBias[] {
    const factors = relu(add(reshape(scale, [this.layers, -1]), this.constant([TINY], pass)));
    const perLayer = Array.from({ length: this.layers }, (_, i) => reshape(slice(factors, 0, i, 1), [-1]));
    if (matrix) {
      const bias = this.matrixBias(matrix, tokens, samples, extra, mask, pass);
      return perLayer.map((factor) => ({ bias: this.scaleHeads(bias, factor) }));
    }
    const rows = mask ? mask.info.rows : samples;
    const kept = mask ? mask.info.keptPerRow : tokens;
    const { coordinates, euclidean } = this.options;
    const grid = coordinates(tokens);
    const positions = pass.upload({
      data: rowCoordinates(grid, rows, extra, mask?.info ?? null),
      shape: [rows, extra + kept, grid.dims],
    });
    const base = this.constant(alibiSlopes(this.heads), pass);
    const rest = this.all > this.heads ? this.constant(Array(this.all - this.heads).fill(0), pass) : null;
    return perLayer.map((factor) => {
      const slopes = mul(base, factor);
      return {
        alibi: {
          slopes: rest ? concat([slopes, rest], 0) : slopes,
          positionsQ: positions,
          positionsK: positions,
          euclidean,
        },
      };
    });
  }

  /** [rows, all heads, E+K, E+K] from the learned matrix: kept rows and columns, zeros for extra tokens and other heads. */
  private matrixBias(
    matrix: Parameter,
    tokens: number,
    samples: number,
    extra: number,
    mask: DeviceMask | null,
    pass: Pass,
  ): Tensor {
    const positions = this.options.config.alibi_max_pos!;
    if (tokens > positions) {
      throw new D2vError(`an input has ${tokens} tokens, but alibi_max_pos is ${positions}: raise it`);
    }
    const { heads } = this;
    const rows = mask ? mask.info.rows : samples;
    const kept = mask ? mask.info.keptPerRow : tokens;
    const ids = new Int32Array(heads * rows * kept);
    for (let i = 0; i < ids.length; i++) {
      const at = i % (rows * kept);
      ids[i] = mask ? mask.info.keep[at]! : at % kept;
    }
    const keep: RawTensor = pass.upload({ data: ids, shape: [heads * rows, kept] });
    const lines = gatherTokens(reshape(matrix, [heads, positions, positions]), keep);
    const square = gatherTokens(transpose(lines, [0, 2, 1]), keep);
    // Rows of `square` are keys; back to [rows, heads, queries, keys].
    let bias = transpose(reshape(square, [heads, rows, kept, kept]), [1, 0, 3, 2]);
    const zeros = (shape: number[]) => new Tensor(pass.own(k.zeros(shape, 'f32', pass.device)));
    if (this.all > heads) bias = concat([bias, zeros([rows, this.all - heads, kept, kept])], 1);
    if (extra > 0) {
      bias = concat([zeros([rows, this.all, kept, extra]), bias], 3);
      bias = concat([zeros([rows, this.all, extra, extra + kept]), bias], 2);
    }
    return bias;
  }

  /** Multiplies [rows, heads, n, n] by one factor, or by one per head. */
  private scaleHeads(bias: Tensor, factor: Tensor): Tensor {
    if (factor.size === 1) return mul(bias, factor);
    const [rows, all, n] = bias.shape as [number, number, number, number];
    const ones = all > this.heads ? concat([factor, this.onesLike(factor, all - this.heads)], 0) : factor;
    const each = reshape(repeatRows(reshape(ones, [all, 1]), n * n), [all, n, n]);
    return rows > 0 ? mul(bias, each) : bias;
  }

  private onesLike(factor: Tensor, count: number): Tensor {
    return new Tensor(k.full([count], 1, 'f32', factor.device));
  }

  private constant(values: number[], pass: Pass): Tensor {
    return new Tensor(
      pass.own(k.fromArray(Float32Array.from(values), [values.length], { device: pass.device })),
    );
  }

  private distances(tokens: number): Float64Array {
    const { dims, data } = this.options.coordinates(tokens);
    return Float64Array.from({ length: tokens * tokens }, (_, i) => {
      const a = Math.floor(i / tokens) * dims;
      const b = (i % tokens) * dims;
      let sum = 0;
      for (let d = 0; d < dims; d++) {
        const difference = Math.abs(data[a + d]! - data[b + d]!);
        sum += this.options.euclidean ? difference ** 2 : difference;
      }
      return this.options.euclidean ? Math.sqrt(sum) : sum;
    });
  }
}
