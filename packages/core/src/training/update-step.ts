import { setImmediate as yieldToEvents } from 'node:timers/promises';
import { type RawTensor, recorded } from '@d2v/cuda-kernels';
import type { ForwardResult } from '../data2vec/forward.js';
import { type Data2Vec, keyOf } from '../data2vec/model.js';
import type { Batch } from '../modality/contract.js';
import type { Adam, StepResult } from './optimizer.js';

export interface UpdateSettings {
  modality: string;
  lr: number;
  clipNorm: number;
  /** Starts the GPU's work as a whole, see `recorded`. Default false. */
  graph?: boolean;
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
 * masked tokens of the whole update: the gradient is exactly that of one big batch. Nothing waits for the device.
 *
 * @returns reads the result; waits for it if the device has not got there yet
 */
export async function runUpdate(
  model: Data2Vec,
  optimizer: Adam,
  batches: readonly Batch[],
  settings: UpdateSettings,
): Promise<() => UpdateResult> {
  const enqueue = () => enqueueUpdate(model, optimizer, batches, settings);
  return settings.graph ? recorded(model.device, enqueue) : enqueue();
}

async function enqueueUpdate(
  model: Data2Vec,
  optimizer: Adam,
  batches: readonly Batch[],
  { modality, lr, clipNorm }: UpdateSettings,
): Promise<() => UpdateResult> {
  const update = model.numUpdates;
  let firstSample = 0;
  const plans = batches.map((batch) => {
    const plan = model.plan(batch, { modality, update, firstSample });
    firstSample += batch.size;
    return plan;
  });
  const totalSampleSize = plans.reduce((sum, plan) => sum + plan.sampleSize, 0);
  const results: ForwardResult[] = [];
  const losses: RawTensor[] = [];
  try {
    for (const [micro, plan] of plans.entries()) {
      // Signals and messages of loader threads are handled between micro-batches: kernels block the event loop.
      await yieldToEvents();
      const result = model.forward(plan, { totalSampleSize, micro });
      results.push(result);
      losses.push(...result.deviceLosses());
      result.backward();
    }
    const emaDecay = model.emaSchedule.decayAt(update + 1);
    const step = optimizer.step({ lr, clipNorm, emaDecay, owner: keyOf(modality), losses });
    model.finishUpdate(update + 1);
    return () => readResult(results, step, totalSampleSize);
  } finally {
    for (const raw of losses) raw.dispose();
  }
}

function readResult(
  results: readonly ForwardResult[],
  { gradNorm, clipFactor, applied }: StepResult,
  totalSampleSize: number,
): UpdateResult {
  const sums: Record<string, number> = { loss: 0 };
  const add = (name: string, value: number) => {
    sums[name] = (sums[name] ?? 0) + value;
  };
  for (const result of results) {
    add('loss', result.loss / totalSampleSize);
    for (const [name, loss] of Object.entries(result.losses)) add(`loss_${name}`, loss / totalSampleSize);
    for (const [name, value] of Object.entries(result.metrics)) add(name, value / results.length);
  }
  const { loss, ...means } = sums as { loss: number } & Record<string, number>;
  const metrics = {
    ...means,
    sample_size: totalSampleSize,
    grad_norm: gradNorm,
    clipped: clipFactor < 1 ? 1 : 0,
  };
  return { loss, gradNorm, applied, metrics };
}
