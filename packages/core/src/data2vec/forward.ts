/** One forward pass of pretraining, from a planned batch to losses that can be differentiated. */
import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import { backward, noGrad, type Tensor } from '../tensor/index.js';
import type { ModelConfig } from './config.js';
import { DeviceMask } from './device-mask.js';
import { lossTerms } from './losses.js';
import type { Pass } from './pass.js';
import type { PlannedBatch } from './plan.js';
import type { Student } from './student.js';
import type { Teacher } from './teacher.js';

export interface ForwardOptions {
  /** Masked tokens in all micro-batches of the update (and on all machines): the sum of the plans' `sampleSize`. */
  totalSampleSize: number;
  /** Number of the micro-batch within the update. Default 0. */
  micro?: number;
}

/** The outcome of a forward pass. Its numbers are read from the device when they are first asked for, at any time. */
export class ForwardResult {
  private spent = false;

  constructor(
    private readonly terms: ReadonlyMap<string, Tensor>,
    readonly sampleSize: number,
    private readonly readMetrics: () => Record<string, number>,
    private readonly totalSampleSize: number,
  ) {}

  /** Sums over elements, by the reference's names. */
  get losses(): Record<string, number> {
    return Object.fromEntries([...this.terms].map(([name, term]) => [name, term.item()]));
  }

  get metrics(): Record<string, number> {
    return this.readMetrics();
  }

  /** The losses on the device, f64 [1] each, before `backward`; the caller frees them. */
  deviceLosses(): RawTensor[] {
    return [...this.terms.values()].map(({ exact }) => exact!.reshape([1]));
  }

  /** The sum of all terms. */
  get loss(): number {
    return Object.values(this.losses).reduce((a, b) => a + b, 0);
  }

  /** Adds the gradient of (sum of all terms) / totalSampleSize to the parameters' gradients. Once per result. */
  backward(): void {
    if (this.spent) throw new D2vError('backward() of a forward result can run once');
    this.spent = true;
    backward([...this.terms.values()], 1 / this.totalSampleSize);
    this.dispose();
  }

  /** Frees the losses on the device. */
  dispose(): void {
    for (const term of this.terms.values()) term.dispose();
  }
}

/** The parts of the model that a forward pass needs. */
export interface ForwardParts {
  config: ModelConfig;
  student: Student;
  teacher: Teacher;
}

/** Teacher, then student, decoders, losses and metrics. */
export function forwardPass(
  { config, student, teacher }: ForwardParts,
  plan: PlannedBatch,
  pass: Pass,
  totalSampleSize: number,
): ForwardResult {
  const { batch, key, layout } = plan;
  const encoder = student.encoder(key);
  const mask = new DeviceMask(plan.mask, config.clone_batch, pass);
  const local = encoder.localFeatures(batch, pass);
  pass.probe?.tensor('local_features', local.raw);
  const target = pass.own(teacher.targets(key, batch, local, layout, pass.evaluation()));
  pass.probe?.tensor('targets', target);

  const encoded = encoder.contextualize(local, layout, mask, pass);
  pass.probe?.tensor('encoder_in', encoded.x.raw);
  pass.probe?.attention?.('encoder', encoded.attention);
  const deviations: Record<string, RawTensor> = {};
  deviations.local_var = k.featureStd(local.raw);
  local.dispose();

  const x = student.encode(encoded.x, encoded.attention, encoder.config.prenet_depth, pass);
  pass.probe?.tensor('encoder_out', x.raw);
  const decoders = student.decoders(encoder);
  if (decoders.length === 0) throw new D2vError('pretraining needs a decoder: set decoder or shared_decoder');
  const predictions = decoders.map((decoder, i) => {
    const run = () => encoder.predict(x, mask, pass, decoder, `decoder-noise-${i}`);
    const differentiated = config.d2v_loss > 0 || (config.recon_loss > 0 && i === 0);
    return differentiated ? run() : noGrad(run);
  });

  const terms = lossTerms(
    { student, encoder, batch, x, predictions, target, mask, totalSampleSize },
    config,
    pass,
  );
  x.dispose();
  for (const [i, prediction] of predictions.entries()) {
    deviations[`pred_var${predictions.length > 1 ? `_${i}` : ''}`] = k.featureStd(prediction.raw);
    prediction.dispose();
  }
  deviations.target_var = k.featureStd(target, mask.masked);
  const read = k.readLater(Object.values(deviations));
  for (const raw of Object.values(deviations)) raw.dispose();
  const masked_pct = 1 - plan.mask.keptPerRow / plan.mask.tokens;
  const readMetrics = () => {
    const values = read.get() as Float64Array[];
    const metrics = Object.fromEntries(Object.keys(deviations).map((name, i) => [name, values[i]![0]!]));
    return { ...metrics, masked_pct };
  };
  return new ForwardResult(terms, plan.sampleSize, readMetrics, totalSampleSize);
}
