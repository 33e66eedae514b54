/** Runs our model on a fixture and compares every quantity. */
import { Adam, type Data2Vec, type ForwardResult, loadModality, raw } from '@d2v/core';
import { Activations } from './activations.js';
import { buildModel, fixtureBatch, fixturePlan } from './build.js';
import { Fixture, type TraceStep } from './fixture.js';
import {
  AFTER_PARAM,
  activationLimits,
  afterEma,
  EXACT,
  GRAD_NORM,
  GRADIENT,
  hasKeyBias,
  LOSS,
  NOISE,
  NOISE_GRADIENT,
  NORM_AFTER,
  noiseOf,
  TRACE_GRAD_NORM,
  TRACE_LOSS,
  TRACE_VARIANCE,
  VARIANCE,
} from './limits.js';
import { Comparison, type Limits, type ParityReport } from './report.js';

const STEPS = 10;

export interface ParityOptions {
  /** Packages or paths of modalities that are not installed. */
  plugins?: readonly string[];
  /** "cpu" (default) or "cuda:0"; always in f32. */
  device?: string;
}

/** Compares one fixture. */
export async function parity(
  path: string,
  { plugins = [], device = 'cpu' }: ParityOptions = {},
): Promise<ParityReport> {
  const fixture = Fixture.open(path);
  try {
    const modality = await loadModality(fixture.info.modality.toLowerCase(), { plugins });
    const comparison = new Comparison();
    const model = buildModel(fixture, modality, device, false);
    checkNames(fixture, model, comparison);
    features(fixture, model, comparison);
    trace(fixture, model, comparison);
    model.dispose();
    if (fixture.info.variant_weight_decay_on_every_parameter?.trace) {
      const variant = buildModel(fixture, modality, device, true);
      decayOnEverything(fixture, variant, comparison);
      variant.dispose();
    } else {
      comparison.skip('variant');
    }
    const known = /^(param|input|ema)\//;
    return comparison.report(
      fixture.info.fixture,
      fixture.names.filter((name) => !known.test(name)),
    );
  } finally {
    fixture.close();
  }
}

/** Parameter names, which of them are trained, and which have no weight decay. */
function checkNames(fixture: Fixture, model: Data2Vec, comparison: Comparison): void {
  const named = [...model.student.namedParameters()];
  const theirs = [...fixture.group('param/').keys()];
  comparison.names(
    'names/param',
    named.map(([name]) => name),
    theirs,
  );
  // What gets no gradient at all in the reference may as well be frozen here.
  const frozen = named.filter(([, p]) => !p.trainable).map(([name]) => name);
  const { not_trainable, weight_decay_zero_for } = fixture.info;
  const declared = frozen.filter((name) => not_trainable?.includes(name) || fixture.has(`grad/${name}`));
  comparison.names('names/not_trainable', declared, not_trainable);
  const { entries } = model.arena;
  const undecayed = [...entries.values()].filter((e) => !e.decay).map((e) => e.name);
  const expected = weight_decay_zero_for?.filter((name) => entries.has(name));
  comparison.names('names/weight_decay_zero_for', undecayed, expected);
}

function features(fixture: Fixture, model: Data2Vec, comparison: Comparison): void {
  if (!fixture.has('features/x')) {
    comparison.skip('features/x');
    return;
  }
  const batch = fixtureBatch(fixture);
  const [ours] = model.embed(batch, { modality: fixture.info.modality, pool: 'none', extraTokens: true });
  const theirs = fixture.float('features/x');
  comparison.array('features/x', ours!.data, theirs, activationLimits(theirs));
}

/** Ten updates on the same batch and mask; the first one in all detail. */
function trace(fixture: Fixture, model: Data2Vec, comparison: Comparison): void {
  const { scalars, trace, after_10_steps: end, optimizer } = fixture.info;
  const run = new Run(fixture, model);
  const steps = trace?.length ?? (optimizer ? 1 : 0);
  for (let s = 0; s < Math.max(1, steps); s++) {
    const theirs = (s === 0 ? { ...trace?.[0], ...scalars } : trace![s]) as TraceStep;
    const activations = s === 0 ? new Activations(fixture, comparison) : undefined;
    const result = run.forward(s, activations);
    activations?.finish();
    compareStep(comparison, s, result, theirs);
    result.backward();
    if (s === 0) compareGradients(fixture, model, comparison);
    if (!optimizer) {
      comparison.skip('after');
      return;
    }
    const gradNorm = run.update(s + 1);
    if (s === 0) {
      const norm = (scalars?.grad_norm_before_clip as number | undefined) ?? theirs.grad_norm;
      comparison.number('grad_norm', gradNorm, norm, GRAD_NORM);
      const decay = (scalars?.ema_decay_after_step_1 as number | undefined) ?? theirs.ema_decay;
      comparison.number('ema_decay', model.emaDecay, decay, EXACT);
      compareAfter(fixture, model, comparison, optimizer.lr);
    } else {
      comparison.number(`trace/${s + 1}/grad_norm`, gradNorm, theirs.grad_norm, TRACE_GRAD_NORM);
      comparison.number(`trace/${s + 1}/ema_decay`, model.emaDecay, theirs.ema_decay, EXACT);
    }
  }
  if (steps < STEPS) comparison.skip('trace');
  if (!end || steps !== STEPS) comparison.skip('after_10_steps');
  else {
    compareNorms(comparison, 'after_10_steps/param_l2', end.param_l2, run.weights(), optimizer!.lr, STEPS);
    compareNorms(comparison, 'after_10_steps/ema_l2', end.ema_l2, run.teacher(), optimizer!.lr, STEPS);
  }
}

function compareStep(comparison: Comparison, s: number, result: ForwardResult, theirs: TraceStep): void {
  const [prefix, loss, variance] =
    s === 0 ? (['', LOSS, VARIANCE] as const) : ([`trace/${s + 1}/`, TRACE_LOSS, TRACE_VARIANCE] as const);
  const names = new Set([...Object.keys(theirs.losses_summed ?? {}), ...Object.keys(result.losses)]);
  for (const name of names) {
    comparison.number(`${prefix}losses/${name}`, result.losses[name], theirs.losses_summed?.[name], loss);
  }
  comparison.number(`${prefix}loss_summed`, result.loss, theirs.loss_summed, loss);
  comparison.number(
    `${prefix}loss_normalised`,
    result.loss / result.sampleSize,
    theirs.loss_normalised,
    loss,
  );
  comparison.number(`${prefix}sample_size`, result.sampleSize, theirs.sample_size, EXACT);
  comparison.number(`${prefix}masked_pct`, result.metrics.masked_pct, theirs.masked_pct, EXACT);
  for (const [name, value] of Object.entries(result.metrics)) {
    if (!/^(pred|target)_var/.test(name)) continue;
    comparison.number(`${prefix}${name}`, value, theirs[name] as number | undefined, variance);
  }
}

function compareGradients(fixture: Fixture, model: Data2Vec, comparison: Comparison): void {
  const ours = model.arena.named('grads');
  for (const [name, { data }] of fixture.group('grad/')) {
    const noisy = keyBias(name, data.length);
    compareTensor(comparison, `grad/${name}`, numbers(ours.get(name)), data, noisy, GRADIENT, NOISE.grad);
  }
  for (const view of ours.values()) view.dispose();
}

function compareAfter(fixture: Fixture, model: Data2Vec, comparison: Comparison, lr: number): void {
  const state = model.stateDict();
  const decay = model.emaDecay;
  const clip = (fixture.info.scalars?.clip_coef as number | undefined) ?? 1;
  for (const [kind, prefix, limits, noise] of [
    ['after/param/', '', AFTER_PARAM, NOISE.param(lr)],
    ['after/ema/', '_ema.', afterEma(decay), NOISE.ema(lr, decay)],
  ] as const) {
    for (const [name, { data }] of fixture.group(kind)) {
      const gradient = fixture.has(`grad/${name}`) ? fixture.float(`grad/${name}`) : null;
      const key = keyBias(name, data.length);
      const noisy = (i: number) =>
        key(i) || (gradient !== null && Math.abs(gradient[i]! * clip) < NOISE_GRADIENT);
      compareTensor(comparison, kind + name, numbers(state.get(prefix + name)), data, noisy, limits, noise);
    }
  }
}

function numbers(tensor: raw.RawTensor | undefined): Float32Array {
  return tensor ? (raw.toArray(tensor) as Float32Array) : new Float32Array(0);
}

/** Whether an element is a key bias, of a tensor of this size. */
function keyBias(name: string, size: number): (i: number) => boolean {
  return hasKeyBias(name) ? (i) => i >= size / 3 && i < (2 * size) / 3 : () => false;
}

/** Compares the elements that are more than noise, and the others with limits of their own. */
function compareTensor(
  comparison: Comparison,
  name: string,
  ours: Float32Array,
  theirs: Float32Array,
  noisy: (i: number) => boolean,
  limits: Limits,
  noiseLimits: Limits,
): void {
  if (ours.length !== theirs.length) {
    comparison.array(name, ours, theirs, limits);
    return;
  }
  const noise = Array.from(theirs, (_, i) => noisy(i));
  comparison.array(
    name,
    ours.filter((_, i) => !noise[i]),
    theirs.filter((_, i) => !noise[i]),
    limits,
  );
  if (!noise.includes(true)) return;
  comparison.array(
    noiseOf(name),
    ours.filter((_, i) => noise[i]),
    theirs.filter((_, i) => noise[i]),
    noiseLimits,
  );
}

function compareNorms(
  comparison: Comparison,
  prefix: string,
  theirs: Record<string, number> | undefined,
  ours: ReadonlyMap<string, number>,
  lr: number,
  steps: number,
): void {
  for (const [name, norm] of Object.entries(theirs ?? {})) {
    const limits = hasKeyBias(name) ? NOISE.norm(lr, steps) : NORM_AFTER;
    comparison.number(`${prefix}/${name}`, ours.get(name), norm, limits);
  }
}

function decayOnEverything(fixture: Fixture, model: Data2Vec, comparison: Comparison): void {
  const { variant_weight_decay_on_every_parameter: variant, optimizer } = fixture.info;
  const run = new Run(fixture, model);
  for (const [s, theirs] of (variant?.trace ?? []).entries()) {
    const result = run.forward(s);
    const loss = result.loss / result.sampleSize;
    comparison.number(`variant/loss_normalised/${s + 1}`, loss, theirs.loss_normalised, TRACE_LOSS);
    result.backward();
    comparison.number(`variant/grad_norm/${s + 1}`, run.update(s + 1), theirs.grad_norm, TRACE_GRAD_NORM);
    if (s === 0) {
      const norms = variant?.param_l2_after_step_1;
      compareNorms(comparison, 'variant/param_l2_after_step_1', norms, run.weights(), optimizer!.lr, 1);
    }
  }
}

/** A model in training on the fixture. */
class Run {
  private readonly adam: Adam | null;

  constructor(
    private readonly fixture: Fixture,
    private readonly model: Data2Vec,
  ) {
    const { optimizer } = fixture.info;
    this.adam = optimizer
      ? new Adam(model.arena, {
          betas: optimizer.betas,
          eps: optimizer.eps,
          weightDecay: optimizer.weight_decay,
        })
      : null;
    model.zeroGrad();
  }

  forward(step: number, probe?: Activations): ForwardResult {
    const plan = fixturePlan(this.fixture, this.model, fixtureBatch(this.fixture), step);
    probe?.places(plan.mask);
    return this.model.forward(plan, { totalSampleSize: plan.sampleSize, probe });
  }

  /** @returns the gradient norm before clipping */
  update(step: number): number {
    const { lr, clip_norm } = this.fixture.info.optimizer!;
    const emaDecay = this.model.emaSchedule.decayAt(step);
    const { gradNorm } = this.adam!.step({ lr, clipNorm: clip_norm, emaDecay });
    this.model.finishUpdate(step);
    return gradNorm;
  }

  weights(): Map<string, number> {
    return norms(this.model, (name) => !name.startsWith('_ema.'), '');
  }

  teacher(): Map<string, number> {
    return norms(this.model, (name) => name.startsWith('_ema.'), '_ema.');
  }
}

function norms(model: Data2Vec, wanted: (name: string) => boolean, prefix: string): Map<string, number> {
  const state = [...model.stateDict()].filter(([name]) => wanted(name));
  return new Map(
    state.map(([name, t]) => [
      name.slice(prefix.length),
      raw.scope(() => Math.sqrt(raw.item(raw.sumSquares(t)))),
    ]),
  );
}
