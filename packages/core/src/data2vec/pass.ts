/** What one forward pass through the model shares: mode, randomness, device, and what it has to free at its end. */
import type { Device, RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import type { HostTensor } from '../modality/contract.js';
import type { ForwardContext } from '../nn/index.js';
import { Philox, RngStream } from '../random.js';
import { Tensor } from '../tensor/index.js';
import type { AttentionInput } from './attention-input.js';

/** Receives intermediate values, for comparisons with other implementations and for debugging. Copy what you keep. */
export interface Probe {
  tensor(name: string, value: RawTensor): void;
  attention?(name: string, value: AttentionInput): void;
}

export interface PassOptions {
  seed: number;
  /** 0-based number of the update. */
  update: number;
  /** Number of the micro-batch within the update. */
  micro?: number;
  /** Place of the batch's first sample within the update. */
  firstSample?: number;
  training: boolean;
  device: Device;
  dtype: 'f32' | 'bf16';
  probe?: Probe;
  /** Replaces the noise at masked places (comparisons only). */
  noise?: Float32Array;
}

/** One forward pass. Modules take it as their context. */
export class Pass implements ForwardContext {
  readonly training: boolean;
  readonly rng: RngStream;
  readonly device: Device;
  readonly dtype: 'f32' | 'bf16';
  readonly probe: Probe | undefined;
  private readonly owned: RawTensor[] = [];

  constructor(private readonly options: PassOptions) {
    this.training = options.training;
    this.rng = new RngStream(options.seed, options.update, options.micro ?? 0);
    this.device = options.device;
    this.dtype = options.dtype;
    this.probe = options.probe;
  }

  /** The same pass in evaluation mode. What it owns is freed with this one. */
  evaluation(): Pass {
    const pass = new Pass({ ...this.options, training: false });
    return Object.assign(pass, { owned: this.owned });
  }

  /** Frees a native tensor at the end of the pass. The tape has its own handles on what it needs. */
  own(raw: RawTensor): RawTensor {
    this.owned.push(raw);
    return raw;
  }

  /** Moves host data to the device; f32 data in the pass's dtype. */
  upload({ data, shape }: HostTensor): RawTensor {
    const dtype = data instanceof Float32Array ? this.dtype : data instanceof Int32Array ? 'i32' : 'u8';
    return this.own(k.fromArray(data, shape, { dtype, device: this.device }));
  }

  /** As `upload`, as a tensor without gradient. */
  input(value: HostTensor): Tensor {
    return new Tensor(this.upload(value));
  }

  /**
   * A host generator that is the same for all micro-batches of an update, for decisions about the batch as a whole.
   * @param labels what it is for
   */
  shared(...labels: (string | number)[]): Philox {
    return new Philox(this.options.seed).fork(...labels, this.options.update);
  }

  /** A host generator of a row's own: it depends on the sample's place in the update and the clone. */
  forRow(label: string, row: number, clones: number): Philox {
    const { seed, update, firstSample = 0 } = this.options;
    return new Philox(seed).fork(label, update, firstSample + Math.floor(row / clones), row % clones);
  }

  /**
   * Normal noise for rows of tokens. A sample's noise depends on its place in the update, not on how the update is cut
   * into micro-batches.
   * @param clones rows per sample
   * @param label what it is for
   */
  noise(
    shape: [rows: number, tokens: number, dim: number],
    clones: number,
    std: number,
    label: string,
  ): RawTensor {
    const { noise, seed, update, firstSample = 0 } = this.options;
    if (noise) return this.upload({ data: noise, shape });
    const raw = this.own(k.empty(shape, this.dtype, this.device));
    const [rows, tokens, dim] = shape;
    const each = clones * tokens * dim;
    for (let sample = 0; sample < rows / clones; sample++) {
      const { seed: s, stream, update: u } = new Philox(seed).fork(label, update, firstSample + sample);
      const part = raw.view(sample * each, [clones, tokens, dim]);
      k.normal_(part, 0, std, { seed: s, stream, update: u });
      part.dispose();
    }
    return raw;
  }

  /** Frees what the pass owns. */
  dispose(): void {
    for (const raw of this.owned.splice(0)) raw.dispose();
  }
}
