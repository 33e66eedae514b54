/** Fixtures: values computed with the reference implementation, as NAME.json beside NAME.safetensors. */
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { D2vError, openSafetensors, type SafetensorsFile } from '@d2v/core';

/** What is measured before each update of the trace. */
export interface TraceStep {
  step: number;
  lr?: number;
  grad_norm?: number;
  ema_decay?: number;
  losses_summed?: Record<string, number>;
  loss_summed?: number;
  loss_normalised?: number;
  sample_size?: number;
  masked_pct?: number;
  [variance: string]: unknown;
}

export interface FixtureInfo {
  fixture: string;
  modality: string;
  config: Record<string, unknown>;
  batch?: { vocab_size?: number };
  optimizer?: { lr: number; betas: [number, number]; eps: number; weight_decay: number; clip_norm: number };
  weight_decay_zero_for?: string[];
  not_trainable?: string[];
  noise?: { noise_seed: number; std: number; shape: number[] };
  scalars?: Record<string, unknown> & { losses_summed?: Record<string, number> };
  trace?: TraceStep[];
  after_10_steps?: { param_l2?: Record<string, number>; ema_l2?: Record<string, number> };
  variant_weight_decay_on_every_parameter?: {
    trace?: TraceStep[];
    param_l2_after_step_1?: Record<string, number>;
  };
}

/** A fixture's scalars and, on demand, its tensors. */
export class Fixture {
  private constructor(
    readonly info: FixtureInfo,
    private readonly file: SafetensorsFile,
  ) {}

  static open(path: string): Fixture {
    let info: FixtureInfo;
    try {
      info = JSON.parse(readFileSync(path, 'utf8')) as FixtureInfo;
    } catch (error) {
      throw new D2vError(`${path} is not a fixture: ${(error as Error).message}`, { cause: error });
    }
    if (!info.config || !info.modality) throw new D2vError(`${path} is not a fixture: no config or modality`);
    const tensors = join(dirname(path), `${basename(path, '.json')}.safetensors`);
    return new Fixture(
      { ...info, fixture: info.fixture ?? basename(path, '.json') },
      openSafetensors(tensors),
    );
  }

  get names(): string[] {
    return this.file.names;
  }

  has(name: string): boolean {
    return this.file.tensors.has(name);
  }

  shape(name: string): number[] {
    return this.file.info(name).shape;
  }

  float(name: string): Float32Array {
    return this.file.readFloat32(name);
  }

  /** A tensor in the type it is stored in: float32, int32 or uint8. */
  raw(name: string): Float32Array | Int32Array | Uint8Array {
    const bytes = this.file.read(name);
    const { dtype } = this.file.info(name);
    if (dtype === 'I32') return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    return dtype === 'U8' || dtype === 'BOOL' ? bytes : this.file.readFloat32(name);
  }

  /** Tensors below a prefix, by the rest of their names. */
  group(prefix: string): Map<string, { data: Float32Array; shape: number[] }> {
    const names = this.names.filter((name) => name.startsWith(prefix));
    return new Map(
      names.map((name) => [name.slice(prefix.length), { data: this.float(name), shape: this.shape(name) }]),
    );
  }

  close(): void {
    this.file.close();
  }
}
