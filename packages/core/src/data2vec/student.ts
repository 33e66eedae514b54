/** The network that is trained: one encoder per modality, the shared blocks, and the parts that only pretraining has. */
import { D2vError } from '../errors.js';
import { Dropout, type LayerNorm, Linear, Module, ModuleDict, type TransformerBlock } from '../nn/index.js';
import type { Tensor } from '../tensor/index.js';
import type { AttentionInput } from './attention-input.js';
import { type BlockHooks, makeBlocks, makeNorm, replace, runBlocks } from './blocks.js';
import type { ModelConfig } from './config.js';
import { type Decoder, Decoder1d } from './decoder.js';
import type { ModalityEncoder } from './modality-encoder.js';
import type { Pass } from './pass.js';

/**
 * State: `modality_encoders.<KEY>`, `blocks.<i>`, `norm` (pre-norm only), and for pretraining `shared_decoder` and
 * `recon_proj`.
 */
export class Student extends Module {
  readonly encoders: ModuleDict<ModalityEncoder>;
  readonly blocks: TransformerBlock[];
  readonly norm: LayerNorm | null;
  readonly sharedDecoder: Decoder | null;
  readonly reconProj: Linear | null;
  private readonly inputDropout: Dropout;

  constructor(
    readonly config: ModelConfig,
    encoders: readonly ModalityEncoder[],
    pretraining: boolean,
  ) {
    super();
    const { depth, embed_dim, start_drop_path_rate: start, end_drop_path_rate: end } = config;
    this.encoders = this.child('modality_encoders', new ModuleDict(encoders.map((e) => [e.key, e])));
    this.blocks = this.list('blocks', makeBlocks(config, depth, start, end));
    this.norm = config.layer_norm_first ? this.child('norm', makeNorm(config)) : null;
    this.inputDropout = new Dropout(config.dropout_input);
    const shared = pretraining ? config.shared_decoder : null;
    this.sharedDecoder = shared
      ? this.child('shared_decoder', new Decoder1d(shared, embed_dim, { init: 'xavier' }))
      : null;
    this.reconProj =
      pretraining && config.recon_loss > 0
        ? this.child('recon_proj', new Linear(embed_dim, reconWidth(encoders), { init: 'default' }))
        : null;
  }

  /** The encoder of a modality by its key, e.g. `IMAGE`. */
  encoder(key: string): ModalityEncoder {
    const encoder = this.encoders.get(key);
    if (encoder) return encoder;
    const known = this.encoders.entries().map(([name]) => name.toLowerCase());
    throw new D2vError(`this model has no modality "${key.toLowerCase()}"; it has ${known.join(', ')}`);
  }

  /** The decoders of a modality: the shared one, then its own. */
  decoders(encoder: ModalityEncoder): Decoder[] {
    return [this.sharedDecoder, encoder.decoder].filter((d) => d !== null);
  }

  /**
   * The shared blocks, and the final norm of a pre-norm model: x [R,E+K,D] to the same shape. Frees the handle of `x`.
   * @param prenet number of blocks that came before, for per-layer attention biases
   */
  encode(x: Tensor, attention: AttentionInput, prenet: number, pass: Pass, hooks: BlockHooks = {}): Tensor {
    const dropped = replace(x, this.inputDropout.forward(x, pass));
    const { layerdrop } = this.config;
    const options = { attention, firstLayer: prenet, layerdrop, ...hooks };
    const y = replace(dropped, runBlocks(this.blocks, dropped, pass, options));
    return this.norm ? replace(y, this.norm.forward(y)) : y;
  }
}

/** The reconstruction head is shared, so all modalities have to agree on its width. */
function reconWidth(encoders: readonly ModalityEncoder[]): number {
  const widths = new Set(encoders.map((e) => e.reconWidth).filter((w) => w !== null));
  const [width] = widths;
  if (width === undefined)
    throw new D2vError('recon_loss needs a modality that can be reconstructed: set it to 0');
  if (widths.size > 1) {
    throw new D2vError(
      `recon_loss needs modalities of one width, these have ${[...widths].join(' and ')}: set it to 0`,
    );
  }
  return width;
}
