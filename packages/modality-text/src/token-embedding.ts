/** Tokens to local features: a vector per token and per position, added and normalised. */
import {
  type Batch,
  D2vError,
  Dropout,
  Embedding,
  init,
  LayerNorm,
  Module,
  ops,
  type Pass,
  type Tensor,
} from '@d2v/core';
import type { TextConfig } from './config.js';
import { POSITION_OFFSET, positionNumbers, sinusoids } from './positions.js';
import { PAD } from './special-tokens.js';

/** The tokens of a batch: `source` i32 [B,T], and its optional `padding` u8 [B,T]. */
export interface TokenBatch {
  ids: Int32Array;
  samples: number;
  tokens: number;
  /** 1 = padding, or null. */
  padding: Uint8Array | null;
}

/**
 * Reads and checks the tokens of a batch.
 * @throws D2vError if it has none, or if they do not suit the model
 */
export function batchTokens(batch: Batch, config: TextConfig): TokenBatch {
  const { source, padding } = batch.tensors;
  const [samples = 0, tokens = 0] = source?.shape ?? [];
  if (!(source?.data instanceof Int32Array) || source.shape.length !== 2 || tokens === 0) {
    throw new D2vError('a batch of text has token ids in `source`, i32 [samples, tokens]; this one has not');
  }
  if (padding && (!(padding.data instanceof Uint8Array) || padding.data.length !== source.data.length)) {
    throw new D2vError('`padding` of a batch of text must be u8 of the same shape as `source`');
  }
  const { vocab_size: vocabulary, max_source_positions: most } = config;
  if (!config.no_token_positional_embeddings && config.learned_pos && tokens > most) {
    throw new D2vError(
      `a sample of ${tokens} tokens is longer than model.modalities.text.max_source_positions (${most}): cut it, or train with more positions`,
    );
  }
  for (const id of source.data) {
    if (id >= 0 && id < vocabulary) continue;
    throw new D2vError(
      `token ${id} is not in the model's vocabulary of ${vocabulary} (model.modalities.text.vocab_size): tokenizer and model must agree`,
    );
  }
  return { ids: source.data, samples, tokens, padding: (padding?.data as Uint8Array | undefined) ?? null };
}

/**
 * State: `embed_tokens.weight` [vocabulary, width], `embed_positions.weight` [most tokens + 2, width] if learned,
 * `layernorm_embedding`. The rows of padding are zero and stay so.
 */
export class TokenEmbedding extends Module {
  private readonly tokens: Embedding;
  private readonly positions: Embedding | null;
  private readonly norm: LayerNorm | null;
  private readonly drop: Dropout;

  /** @param plain the framework's initial values instead of N(0, 0.02), as `mae_init` leaves them */
  constructor(
    private readonly config: TextConfig,
    private readonly width: number,
    plain: boolean,
  ) {
    super();
    const start = (std: number) => (plain ? { ...init.normal(std), padding: PAD } : undefined);
    this.tokens = this.child(
      'embed_tokens',
      new Embedding(config.vocab_size, width, { padding: PAD, init: start(1) }),
    );
    const rows = config.max_source_positions + POSITION_OFFSET;
    const learned = config.learned_pos && !config.no_token_positional_embeddings;
    this.positions = learned
      ? this.child(
          'embed_positions',
          new Embedding(rows, width, { padding: PAD, init: start(width ** -0.5) }),
        )
      : null;
    this.norm = config.layernorm_embedding ? this.child('layernorm_embedding', new LayerNorm(width)) : null;
    this.drop = new Dropout(config.dropout);
  }

  /** [B,T,width] */
  forward(batch: Batch, pass: Pass): Tensor {
    const { ids, samples, tokens } = batchTokens(batch, this.config);
    const shape = [samples, tokens];
    let x = this.tokens.forward(pass.upload({ data: ids, shape }));
    const step = (next: Tensor) => {
      if (next !== x) x.dispose();
      x = next;
    };
    if (!this.config.no_scale_embedding) step(ops.scale(x, Math.sqrt(this.width)));
    const positions = this.positionVectors(ids, samples, tokens, pass);
    if (positions) {
      step(ops.add(x, positions));
      positions.dispose();
    }
    if (this.norm) step(this.norm.forward(x));
    step(ops.cast(x, pass.dtype));
    step(this.drop.forward(x, pass));
    return x;
  }

  private positionVectors(ids: Int32Array, samples: number, tokens: number, pass: Pass): Tensor | null {
    if (this.config.no_token_positional_embeddings) return null;
    const numbers = positionNumbers(ids, tokens);
    if (this.positions)
      return this.positions.forward(pass.upload({ data: numbers, shape: [samples, tokens] }));
    const fixed = pass.input({ data: sinusoids(numbers, this.width), shape: [samples, tokens, this.width] });
    return ops.cast(fixed, 'f32');
  }
}
