/** data2vec 2.0: student, teacher, and what one update of them consists of. */
import type { Device, RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import type { Batch, Modality } from '../modality/contract.js';
import { ParameterArena, type StateValue } from '../nn/index.js';
import { noGrad } from '../tensor/index.js';
import { checkCollapse } from './collapse.js';
import type { ModalityConfig, ModelConfig } from './config.js';
import { EmaSchedule } from './ema.js';
import { computeFeatures, type FeatureOptions, type Features, type Pool, poolFeatures } from './features.js';
import { type ForwardOptions, type ForwardResult, forwardPass } from './forward.js';
import type { ModalityEncoder } from './modality-encoder.js';
import { Pass, type Probe } from './pass.js';
import { type PlannedBatch, type PlanOptions, planBatch } from './plan.js';
import { type LoadReport, loadInto, type StateParts, stateOf } from './state.js';
import { Student } from './student.js';
import { averagedByTeacher, Teacher } from './teacher.js';

export interface Data2VecOptions {
  config: ModelConfig;
  /** One plugin per entry of `config.modalities` that is to be built. */
  modalities: readonly Modality[];
  /** Of the initial weights, masks and noise. Default: `config.seed`, else 1. */
  seed?: number;
  /** Default 'cpu'. */
  device?: Device;
  /** Of activations; weights and losses are f32. Default 'f32'. */
  dtype?: 'f32' | 'bf16';
  /** Build decoders, teacher and gradients. Default: unless `config.skip_ema`. */
  pretraining?: boolean;
  /** Build the teacher. Default: as `pretraining`. */
  teacher?: boolean;
  /** Apply weight decay to all parameters, as the original does in fact; otherwise biases and 1-D tensors have none. */
  decayAll?: boolean;
  /** Optimizer group by parameter name; undefined: the default one (or `decoder` with `decoder_group`). */
  group?: (name: string) => string | undefined;
}

/**
 * The model. One update is: `plan` every micro-batch, then `forward` and `backward` each, an optimizer step on `arena`,
 * and `updateTeacher` (or `finishUpdate` if the optimizer has averaged the teacher in the same pass).
 */
export class Data2Vec {
  readonly config: ModelConfig;
  readonly student: Student;
  readonly teacher: Teacher | null;
  /** Weights, gradients, moments and teacher as flat buffers. */
  readonly arena: ParameterArena;
  readonly emaSchedule: EmaSchedule;
  readonly seed: number;
  /** Updates made so far. */
  numUpdates = 0;
  /** Decay of the latest update. */
  emaDecay: number;
  readonly device: Device;
  private readonly dtype: 'f32' | 'bf16';
  private readonly encoders: ReadonlyMap<string, ModalityEncoder>;

  /** Builds and initialises a model; the same options give the same weights. */
  static create(options: Data2VecOptions): Data2Vec {
    return new Data2Vec(options);
  }

  private constructor(options: Data2VecOptions) {
    const { config, device = 'cpu', dtype = 'f32' } = options;
    const pretraining = options.pretraining ?? !config.skip_ema;
    this.config = config;
    this.device = device;
    this.dtype = dtype;
    this.seed = options.seed ?? config.seed ?? 1;
    this.emaSchedule = new EmaSchedule(config);
    this.emaDecay = this.emaSchedule.decayAt(0);
    checkWidths(config);
    const encoders = options.modalities.map((plugin) => buildEncoder(plugin, config, pretraining));
    if (encoders.length === 0) throw new D2vError('a model needs at least one modality');
    this.encoders = new Map(encoders.map((encoder) => [encoder.key, encoder]));
    this.student = new Student(config, encoders, pretraining);
    const withTeacher = options.teacher ?? pretraining;
    this.arena = new ParameterArena(this.student, {
      seed: this.seed,
      device,
      dtype,
      training: pretraining,
      decayAll: options.decayAll,
      averaged: (name) => withTeacher && this.inTeacher(name),
      group: (name) =>
        options.group?.(name) ?? (config.decoder_group && name.includes('decoder') ? 'decoder' : 'default'),
      owner: (name) => (encoders.length > 1 ? (ENCODER_PART.exec(name)?.[1] ?? null) : null),
    });
    for (const encoder of encoders) encoder.initialise();
    this.arena.refresh();
    this.teacher = withTeacher ? new Teacher(config, this.arena, this.student) : null;
  }

  /** Number of blocks that a modality's tokens pass: its own and the shared ones. */
  layerCount(modality: string): number {
    return this.student.encoder(keyOf(modality)).config.prenet_depth + this.config.depth;
  }

  /** Draws the masks of a batch, on the host. */
  plan(batch: Batch, options: PlanOptions): PlannedBatch {
    const encoder = this.student.encoder(keyOf(options.modality));
    return planBatch(encoder, this.config.clone_batch, this.seed, batch, options);
  }

  /**
   * Computes the losses of a planned batch. `training: false` uses no dropout and records no gradient.
   * @throws D2vError if the model was built without pretraining parts
   */
  forward(
    plan: PlannedBatch,
    options: ForwardOptions & { training?: boolean; probe?: Probe },
  ): ForwardResult {
    const { teacher, config, student } = this;
    const { training = true, totalSampleSize, micro, probe } = options;
    if (!teacher) throw new D2vError('this model was built for inference: it has no teacher to learn from');
    const { update, firstSample, noise } = plan;
    const pass = this.pass({ update, micro, firstSample, training, probe, noise });
    const run = () => forwardPass({ config, student, teacher }, plan, pass, totalSampleSize);
    try {
      return training ? run() : noGrad(run);
    } finally {
      pass.dispose();
    }
  }

  /** Sets the gradients to zero. */
  zeroGrad(): void {
    this.arena.zeroGrad();
  }

  /**
   * Lets the teacher follow the student after an optimizer step.
   * @param update number of the update just made: 1, 2, ...
   * @returns the decay that was used
   */
  updateTeacher(update: number): number {
    const decay = this.emaSchedule.decayAt(update);
    if (this.teacher && decay < 1) {
      const weights = this.arena.buffer('weights').view(0, [this.arena.averagedLength]);
      k.ema_(this.arena.buffer('teacher'), weights, decay);
      weights.dispose();
    }
    this.finishUpdate(update);
    return decay;
  }

  /** Books an update whose optimizer step has averaged the teacher in the same pass. */
  finishUpdate(update: number): void {
    this.numUpdates = update;
    this.emaDecay = this.emaSchedule.decayAt(update);
    this.arena.refresh();
  }

  /** L2 norms of the averaged part of the student and of the teacher. */
  norms(): { model_norm: number; ema_norm: number } {
    return k.scope(() => {
      const norm = (raw: RawTensor) => Math.sqrt(k.item(k.sumSquares(raw)));
      const weights = this.arena.buffer('weights').view(0, [this.arena.averagedLength]);
      return { model_norm: norm(weights), ema_norm: norm(this.arena.buffer('teacher')) };
    });
  }

  /** @throws CollapseError if targets or predictions have become constant; see `min_target_var`, `min_pred_var` */
  checkCollapse(metrics: Record<string, number>): void {
    checkCollapse(metrics, this.numUpdates, this.config);
  }

  /** All tensors by name, the teacher's under `_ema.`; live views, copy what you keep. */
  stateDict(): Map<string, RawTensor> {
    return stateOf(this.stateParts());
  }

  /**
   * Loads tensors by name. Without teacher tensors the teacher becomes a copy of the student.
   * @throws D2vError on another shape and, if `strict` (default), on missing or unknown tensors
   */
  loadState(values: ReadonlyMap<string, StateValue>, { strict = true } = {}): LoadReport {
    return loadInto(this.stateParts(), values, strict);
  }

  /** Features of unmasked samples, in evaluation mode. */
  extractFeatures(batch: Batch, options: FeatureOptions): Features {
    const teacher = options.network === 'teacher';
    if (teacher && !this.teacher) throw new D2vError('this model has no teacher: use the student');
    const network = teacher ? this.teacher!.module : this.student;
    const pass = this.pass({ update: this.numUpdates, training: false });
    try {
      return computeFeatures(network, keyOf(options.modality), batch, options, pass);
    } finally {
      pass.dispose();
    }
  }

  /** Pools features and brings them to host memory; see `poolFeatures`. */
  poolFeatures(features: Features, pool: Pool): { data: Float32Array; shape: number[] }[] {
    return poolFeatures(features, pool);
  }

  /** Features of unmasked samples in host memory, one result per layer asked for. */
  embed(
    batch: Batch,
    { pool, ...options }: FeatureOptions & { pool: Pool },
  ): { data: Float32Array; shape: number[] }[] {
    const features = this.extractFeatures(batch, {
      ...options,
      extraTokens: options.extraTokens ?? pool === 'cls',
    });
    const pooled = poolFeatures(features, pool);
    for (const layer of features.layers) layer.dispose();
    return pooled;
  }

  /** Frees all weights. */
  dispose(): void {
    this.arena.dispose();
  }

  private inTeacher(name: string): boolean {
    return averagedByTeacher(name, this.config, this.encoders);
  }

  private stateParts(): StateParts {
    const { student, teacher, arena } = this;
    return { student, teacher, arena, inTeacher: (name) => this.inTeacher(name) };
  }

  private pass(options: {
    update: number;
    training: boolean;
    micro?: number;
    firstSample?: number;
    probe?: Probe;
    noise?: Float32Array;
  }): Pass {
    return new Pass({ ...options, seed: this.seed, device: this.device, dtype: this.dtype });
  }
}

/** Parameters of one modality; what several share has no owner. */
const ENCODER_PART = /^modality_encoders\.([^.]+)\./;

/** State-dict key of a modality's name. */
export function keyOf(modality: string): string {
  return modality.toUpperCase();
}

function buildEncoder(plugin: Modality, model: ModelConfig, pretraining: boolean): ModalityEncoder {
  const parsed = plugin.configSchema.parse(model.modalities[plugin.name] ?? {}) as ModalityConfig;
  const config = pretraining ? parsed : { ...parsed, decoder: null };
  return plugin.createEncoder({ name: plugin.name, key: keyOf(plugin.name), config, model });
}

function checkWidths({ embed_dim, num_heads }: ModelConfig): void {
  if (embed_dim % num_heads !== 0) {
    throw new D2vError(
      `embed_dim ${embed_dim} is not a multiple of num_heads ${num_heads}: change one of them`,
    );
  }
}
