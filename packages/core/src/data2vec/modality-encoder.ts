/**
 * What a modality adds to the model: how its input becomes tokens, where they are, what is masked, and how masked tokens
 * are predicted. Plugins extend `ModalityEncoder`; the shared blocks between encoder and decoder belong to core.
 */

import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import type { Batch } from '../modality/contract.js';
import { Dropout, init, Module } from '../nn/index.js';
import { customOp, type Parameter, type Tensor } from '../tensor/index.js';
import { add, cast } from '../tensor/ops.js';
import { type Coordinates, lineCoordinates } from './alibi.js';
import { AttentionInput, keptPadding } from './attention-input.js';
import { type BlockEncoder, type BlockHooks, replace } from './blocks.js';
import type { ModalityConfig, ModelConfig } from './config.js';
import type { Decoder } from './decoder.js';
import { DecoderSource } from './decoder-source.js';
import type { DeviceMask } from './device-mask.js';
import { drawMask } from './draw-mask.js';
import type { RowRandom } from './masking/index.js';
import type { Pass } from './pass.js';
import { RelativeBias } from './relative-bias.js';
import { visibleTokens } from './visible-tokens.js';

/** What a plugin's `createEncoder` gets. */
export interface EncoderContext<C = ModalityConfig> {
  /** Name of the modality, e.g. `image`. */
  name: string;
  /** The same as it is written in state dictionaries, e.g. `IMAGE`. */
  key: string;
  /** `model.modalities.<name>`, parsed. */
  config: C;
  model: ModelConfig;
}

/** How a batch becomes tokens; known before anything is computed. */
export interface TokenLayout {
  samples: number;
  /** Tokens per sample, without extra tokens. */
  tokens: number;
  /** `[samples, tokens]`, 1 = padding, or null. */
  padding: Uint8Array | null;
  /** How the tokens lie in space, row-major, e.g. [8, 8]. Default: a sequence, [tokens]. */
  grid?: readonly number[];
}

/** Turns a batch into local features [B,T,any width]. */
export interface LocalEncoder extends Module {
  forward(batch: Batch, pass: Pass): Tensor;
}

/** Positions for features x [R,T,D] of R/B copies per sample: a tensor of the same shape or [T,D]. */
export interface PositionEncoder extends Module {
  /** @param layout which tokens of the B samples are padding; fixed positions are also asked for without it */
  forward(x: Tensor, pass: Pass, layout?: TokenLayout): Tensor;
}

export interface EncoderParts {
  localEncoder: LocalEncoder;
  /** From local features to the model's width. Default: nothing. */
  projectFeatures?: (Module & { forward(x: Tensor, pass: Pass): Tensor }) | null;
  /** Added before masking. */
  fixedPositions?: PositionEncoder | null;
  /** Computed from the features after masked ones have been blanked, then added. */
  relativePositions?: PositionEncoder | null;
  contextEncoder: BlockEncoder;
  /** Null: only `shared_decoder`. */
  decoder?: Decoder | null;
  /** Straight-line distances for ALiBi instead of sums of differences. */
  euclidean?: boolean;
}

export interface Encoded {
  /** [R, E+K, D]: extra tokens first. */
  x: Tensor;
  attention: AttentionInput;
}

export interface ContextOptions extends BlockHooks {
  /** Whether masked tokens leave the sequence (pretraining) or stay in it, blanked. Default true. */
  removeMasked?: boolean;
}

/** Base of all modality encoders. State: see the members' names below. */
export abstract class ModalityEncoder extends Module {
  readonly key: string;
  readonly config: ModalityConfig;
  readonly model: ModelConfig;
  readonly extraTokens: Parameter | null;
  readonly contextEncoder: BlockEncoder;
  readonly decoder: Decoder | null;
  private readonly fixedPositions: PositionEncoder | null;
  private readonly localEncoder: LocalEncoder;
  private readonly projectFeatures: EncoderParts['projectFeatures'];
  private readonly relativePositions: PositionEncoder | null;
  private readonly bias: RelativeBias | null = null;
  private readonly alibiScale: Parameter | null = null;
  private readonly alibiBias: Parameter | null = null;
  private readonly inputDropout: Dropout;

  protected constructor(ctx: EncoderContext<ModalityConfig>, parts: EncoderParts) {
    super();
    const { config, model } = ctx;
    this.key = ctx.key;
    this.config = config;
    this.model = model;
    const extra = config.num_extra_tokens;
    this.extraTokens =
      extra > 0 ? this.param('extra_tokens', [1, extra, model.embed_dim], { init: init.normal(1) }) : null;
    if (config.use_alibi_encoder) {
      const coordinates = (tokens: number) => this.coordinates(tokens);
      this.bias = new RelativeBias({ config, model, coordinates, euclidean: parts.euclidean ?? false });
      this.alibiScale = this.param('alibi_scale', this.bias.scaleShape, {
        init: init.constant(config.alibi_scale),
        trainable: config.learned_alibi_scale,
      });
      if (config.learned_alibi) {
        const { shape, values } = this.bias.initialMatrix();
        this.alibiBias = this.param('alibi_bias', shape, { init: init.values(values) });
      }
    }
    // A gradient factor of 0 freezes the local encoder, so it is left to neither the optimizer nor weight decay.
    if (config.local_grad_mult === 0) for (const p of parts.localEncoder.parameters()) p.freeze();
    this.localEncoder = this.child('local_encoder', parts.localEncoder);
    this.projectFeatures = this.optional('project_features', parts.projectFeatures);
    this.fixedPositions = this.optional('fixed_positional_encoder', parts.fixedPositions);
    this.relativePositions = this.optional('relative_positional_encoder', parts.relativePositions);
    this.contextEncoder = this.child('context_encoder', parts.contextEncoder);
    this.decoder = this.optional('decoder', parts.decoder);
    this.inputDropout = new Dropout(
      config.decoder?.input_dropout ?? model.shared_decoder?.input_dropout ?? 0,
    );
  }

  /** Called once the parameters have their initial values, for what an initialiser alone can't say. */
  initialise(): void {
    if (!this.extraTokens || !this.config.init_extra_token_zero) return;
    const first = this.extraTokens.raw.view(0, [this.model.embed_dim]);
    k.fill_(first, 0);
    first.dispose();
  }

  /** How many tokens a batch gives, and which of them are padding. Called on the host, before the pass. */
  abstract layout(batch: Batch): TokenLayout;

  /** Where the tokens of an unmasked sequence are, for distances. Default: one after the other. */
  coordinates(tokens: number): Coordinates {
    return lineCoordinates(tokens);
  }

  /** What `recon_loss` reconstructs, f32 [B,T,P] with its width P; null: nothing. Default null. */
  readonly reconWidth: number | null = null;
  reconTargets(_batch: Batch, _pass: Pass): RawTensor {
    throw new D2vError(`modality ${this.key} has nothing to reconstruct: set recon_loss to 0`);
  }

  /**
   * Draws the masks of a batch, `[rows, tokens]` with 1 = masked and equal counts per row.
   * @param clones rows per sample
   * @param maskProb share of tokens to mask
   */
  drawMask(layout: TokenLayout, clones: number, maskProb: number, random: RowRandom): Uint8Array {
    return drawMask(this.config, layout, clones, maskProb, random);
  }

  /** Local features [B,T,D], before positions. */
  localFeatures(batch: Batch, pass: Pass): Tensor {
    const factor = this.config.local_grad_mult;
    let x = this.localEncoder.forward(batch, pass);
    if (factor !== 1 && factor !== 0) x = replace(x, scaleGradient(x, factor));
    return this.projectFeatures ? replace(x, this.projectFeatures.forward(x, pass)) : x;
  }

  /** Positions, masking, extra tokens, prenet blocks: local features [B,T,D] to [R,E+K,D]. `local` stays usable. */
  contextualize(
    local: Tensor,
    layout: TokenLayout,
    mask: DeviceMask | null,
    pass: Pass,
    options: ContextOptions = {},
  ): Encoded {
    const { removeMasked = true, ...hooks } = options;
    const positions = this.fixedPositions?.forward(local, pass, layout);
    const typed = positions && cast(positions, pass.dtype);
    const x = typed ? add(local, typed) : local;
    if (typed !== positions) typed?.dispose();
    const visible = mask && !removeMasked ? null : mask;
    const parts = { relative: this.relativePositions, extra: this.extraTokens, config: this.config, layout };
    const tokens = visibleTokens(x, mask, removeMasked, parts, pass);
    if (x !== local && x !== tokens) x.dispose();
    const attention = this.attentionInput(layout, visible, mask?.clones ?? 1, pass);
    const encoded = this.contextEncoder.forward(tokens, pass, { attention, ...hooks });
    return { x: encoded, attention };
  }

  /** Predictions [R,N,D] for the masked tokens, from the encoder's output [R,E+K,D]. */
  predict(x: Tensor, mask: DeviceMask, pass: Pass, decoder: Decoder, label: string): Tensor {
    const { config, fixedPositions: positions, inputDropout } = this;
    const source = new DecoderSource(
      x,
      mask,
      {
        config: config.decoder ?? decoder.config,
        extra: config.num_extra_tokens,
        noiseStd: config.mask_noise_std,
        inputDropout,
        positions,
        label,
      },
      pass,
    );
    return decoder.predict(source, pass);
  }

  private optional<M extends Module>(name: string, module: M | null | undefined): M | null {
    return module ? this.child(name, module) : null;
  }

  private attentionInput(
    layout: TokenLayout,
    mask: DeviceMask | null,
    clones: number,
    pass: Pass,
  ): AttentionInput {
    const { samples, tokens, padding } = layout;
    const extra = this.config.num_extra_tokens;
    const keyPadding = padding ? keptPadding(padding, layout, extra, mask, clones, pass) : null;
    const { bias, alibiScale } = this;
    if (!bias || !alibiScale) return new AttentionInput(keyPadding);
    return new AttentionInput(
      keyPadding,
      bias.build(alibiScale, this.alibiBias, tokens, samples * clones, extra, mask, pass),
    );
  }
}

/** x, with a factor on the gradient that flows back. */
function scaleGradient(x: Tensor, factor: number): Tensor {
  return customOp({
    name: 'scaleGradient',
    inputs: [x],
    forward: () => ({ out: x.raw.reshape(x.shape), saved: {} }),
    backward: ({ dy }) => [() => k.scale(dy, factor)],
  });
}
