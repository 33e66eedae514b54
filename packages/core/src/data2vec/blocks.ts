/** The transformer blocks of a model and the encoder made of them that each modality has before the shared blocks. */
import {
  type BlockOutput,
  Dropout,
  LayerNorm,
  type LinearInit,
  Module,
  TransformerBlock,
} from '../nn/index.js';
import type { Tensor } from '../tensor/index.js';
import type { AttentionInput } from './attention-input.js';
import type { ModelConfig } from './config.js';
import type { Pass } from './pass.js';

/** Initialisation of the linear layers: N(0, 0.02), or Xavier-uniform with `mae_init`. */
export function modelInit(model: ModelConfig): LinearInit {
  return model.mae_init ? 'xavier' : 'bert';
}

/** A block as the model's configuration describes it; decoders have other widths and heads. */
export function makeBlock(
  model: ModelConfig,
  options: { dropPath?: number; width?: number; heads?: number; init?: LinearInit } = {},
): TransformerBlock {
  return new TransformerBlock(options.width ?? model.embed_dim, {
    heads: options.heads ?? model.num_heads,
    mlpRatio: model.mlp_ratio,
    dropout: model.encoder_dropout,
    attentionDropout: model.attention_dropout,
    mlpDropout: model.activation_dropout,
    postMlpDropout: model.post_mlp_drop,
    dropPath: options.dropPath ?? 0,
    normEps: model.norm_eps,
    normAffine: model.norm_affine,
    layerNormFirst: model.layer_norm_first,
    init: options.init ?? modelInit(model),
  });
}

/** A layer norm with the blocks' epsilon. */
export function makeNorm(model: ModelConfig): LayerNorm {
  return new LayerNorm(model.embed_dim, { eps: model.norm_eps, affine: model.norm_affine });
}

/** `count` blocks with a stochastic depth that rises linearly. */
export function makeBlocks(
  model: ModelConfig,
  count: number,
  start: number,
  end: number,
): TransformerBlock[] {
  return Array.from({ length: count }, (_, i) =>
    makeBlock(model, { dropPath: count > 1 ? start + ((end - start) * i) / (count - 1) : start }),
  );
}

export interface RunBlocksOptions {
  attention?: AttentionInput;
  /** Number of the first block among all layers, for per-layer biases. */
  firstLayer?: number;
  /** Probability of skipping a block in training. */
  layerdrop?: number;
  /** What the blocks are called in the random streams. */
  label?: string;
  /** Sees the input of the first block. */
  onInput?: (x: Tensor) => void;
  /** Sees each block's output; `ffn` is there if `wantsFfn` said so. */
  onBlock?: (index: number, output: BlockOutput) => void;
  wantsFfn?: (index: number) => boolean;
}

/**
 * Runs blocks one after the other. Gives up the handles of the tensors in between, but not of `x`.
 * In training a block is skipped with probability `layerdrop`, for all micro-batches of an update alike.
 */
export function runBlocks(
  blocks: readonly TransformerBlock[],
  x: Tensor,
  pass: Pass,
  options: RunBlocksOptions = {},
): Tensor {
  const { attention, firstLayer = 0, layerdrop = 0, label = 'blocks', onInput, onBlock, wantsFfn } = options;
  onInput?.(x);
  let current = x;
  for (const [i, block] of blocks.entries()) {
    if (pass.training && layerdrop > 0 && pass.shared('layerdrop', label, i).uniform() <= layerdrop) continue;
    const output = block.forward(current, pass, attention?.at(firstLayer + i) ?? {}, {
      ffn: wantsFfn?.(i) ?? false,
    });
    onBlock?.(i, output);
    if (output.ffn && output.ffn !== output.x) output.ffn.dispose();
    if (current !== x) current.dispose();
    current = output.x;
  }
  return current;
}

/** Callbacks that see what happens between the blocks. */
export type BlockHooks = Pick<RunBlocksOptions, 'onInput' | 'onBlock' | 'wantsFfn'>;

export interface BlockEncoderOptions {
  layerNormFirst: boolean;
  layerdrop: number;
  dropout: number;
}

/**
 * Norm, dropout, blocks (post-norm), or dropout, blocks, norm (pre-norm). State: `blocks`, `norm`.
 */
export class BlockEncoder extends Module {
  readonly blocks: TransformerBlock[];
  readonly norm: LayerNorm | null;
  private readonly drop: Dropout;

  constructor(
    blocks: TransformerBlock[],
    norm: LayerNorm | null,
    private readonly options: BlockEncoderOptions,
  ) {
    super();
    this.blocks = this.list('blocks', blocks);
    this.norm = norm ? this.child('norm', norm) : null;
    this.drop = new Dropout(options.dropout);
  }

  /** x [R,T,D] to [R,T,D]. Frees the handle of `x`. */
  forward(x: Tensor, pass: Pass, options: BlockHooks & { attention?: AttentionInput } = {}): Tensor {
    const { layerNormFirst, layerdrop } = this.options;
    const normed = this.norm && !layerNormFirst ? replace(x, this.norm.forward(x)) : x;
    const dropped = replace(normed, this.drop.forward(normed, pass));
    const run = runBlocks(this.blocks, dropped, pass, { ...options, layerdrop, label: 'prenet' });
    const y = replace(dropped, run);
    return this.norm && layerNormFirst ? replace(y, this.norm.forward(y)) : y;
  }
}

/** Gives up the handle of a tensor that has been replaced by another. */
export function replace(old: Tensor, by: Tensor): Tensor {
  if (old !== by) old.dispose();
  return by;
}

/** The encoder before the shared blocks, as image and audio have it (text leaves out the norm without prenet blocks). */
export function makeContextEncoder(
  model: ModelConfig,
  config: {
    prenet_depth: number;
    prenet_layerdrop: number;
    prenet_dropout: number;
    start_drop_path_rate: number;
    end_drop_path_rate: number;
  },
  options: { norm?: boolean } = {},
): BlockEncoder {
  const norm = options.norm ?? !model.layer_norm_first;
  return new BlockEncoder(
    makeBlocks(model, config.prenet_depth, config.start_drop_path_rate, config.end_drop_path_rate),
    norm ? makeNorm(model) : null,
    {
      layerNormFirst: model.layer_norm_first,
      layerdrop: config.prenet_layerdrop,
      dropout: config.prenet_dropout,
    },
  );
}
