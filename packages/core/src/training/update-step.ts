import { setImmediate as yieldToEvents } from 'node:timers/promises';
import { type Data2Vec, keyOf } from '../data2vec/model.js';
import type { Batch } from '../modality/contract.js';
import type { Adam } from './optimizer.js';

export interface UpdateSettings {
  modality: string;
  lr: number;
  clipNorm: number;
}

export interface UpdateResult {
  /** Sum of all loss terms per masked token. */
  loss: number;
  gradNorm: number;
  /** False: something was not finite; weights, moments and teacher are as before. */
  applied: boolean;
  /** Means over the micro-batches. */
  metrics: Record<string, number>;
}

/**
 * One update from one or more micro-batches. All masks are drawn first, so that every micro-batch knows the number of
 * masked tokens of the whole update: the gradient is exactly that of one big batch.
 */
export async function runUpdate(
  model: Data2Vec,
  optimizer: Adam,
  batches: readonly Batch[],
  settings: UpdateSettings,
): Promise<UpdateResult> {
  const update = model.numUpdates;
  let firstSample = 0;
  const plans = batches.map((batch) => {
    const plan = model.plan(batch, { modality: settings.modality, update, firstSample });
    firstSample += batch.size;
    return plan;
  });
  const totalSampleSize = plans.reduce((sum, plan) => sum + plan.sampleSize, 0);
  const sums: Record<string, number> = { loss: 0 };
  const add = (name: string, value: number) => {
    sums[name] = (sums[name] ?? 0) + value;
  };
  for (const [micro, plan] of plans.entries()) {
    // Signals and messages of loader threads are handled between micro-batches: kernels block the event loop.
    await yieldToEvents();
    const result = model.forward(plan, { totalSampleSize, micro });
    add('loss', result.loss / totalSampleSize);
    for (const [name, loss] of Object.entries(result.losses)) add(`loss_${name}`, loss / totalSampleSize);
    for (const [name, value] of Object.entries(result.metrics)) add(name, value / plans.length);
    // Also when the loss is not finite (the gradients are then thrown away): it frees what the graph holds.
    result.backward();
    if (!Number.isFinite(result.loss)) break;
  }
  const { loss, ...metrics } = sums as { loss: number } & Record<string, number>;
  return {
    loss,
    ...applyUpdate(model, optimizer, loss, { ...metrics, sample_size: totalSampleSize }, settings),
  };
}

function applyUpdate(
  model: Data2Vec,
  optimizer: Adam,
  loss: number,
  metrics: Record<string, number>,
  { modality, lr, clipNorm }: UpdateSettings,
): Omit<UpdateResult, 'loss'> {
  const done = model.numUpdates + 1;
  if (!Number.isFinite(loss)) {
    optimizer.arena.zeroGrad();
    model.numUpdates = done;
    return { gradNorm: Number.NaN, applied: false, metrics };
  }
  const step = optimizer.step({
    lr,
    clipNorm,
    emaDecay: model.emaSchedule.decayAt(done),
    owner: keyOf(modality),
  });
  if (step.applied) model.finishUpdate(done);
  else model.numUpdates = done;
  return {
    gradNorm: step.gradNorm,
    applied: step.applied,
    metrics: { ...metrics, grad_norm: step.gradNorm, clipped: step.clipFactor < 1 ? 1 : 0 },
  };
}
