import * as k from '@d2v/cuda-kernels';
import { type AnyConfig, type CommonConfig, isJoint } from '../config/joint.js';
import { Data2Vec } from '../data2vec/model.js';
import { D2vError } from '../errors.js';
import type { Batch, Modality } from '../modality/contract.js';
import { formatBytes, freeBytes } from './fs-errors.js';
import { resolveDtype } from './machine.js';
import { checkMemory, firstSamples, largestBatch, measureNeed, memoryForRun, totalNeed } from './memory.js';
import { Adam, type GroupOptions } from './optimizer.js';
import type { RunPart } from './run-part.js';

/** Builds the model of a run, with teacher, decoders and optimizer arenas. */
export function createModel(config: CommonConfig, modalities: readonly Modality[], device: string): Data2Vec {
  const groups = config.optimizer.groups.map(({ match }) => [match, parseMatch(match)] as const);
  return Data2Vec.create({
    config: config.model,
    modalities,
    seed: config.common.seed,
    device,
    dtype: resolveDtype(config.common.dtype, device),
    decayAll: config.optimizer.weight_decay_on_all,
    group: (name) => groups.find(([, pattern]) => pattern.test(name))?.[0],
  });
}

function parseMatch(match: string): RegExp {
  try {
    return new RegExp(match);
  } catch {
    throw new D2vError(`optimizer.groups: "${match}" is not a regular expression`);
  }
}

export function createOptimizer(config: CommonConfig, model: Data2Vec): Adam {
  const { adam_betas: betas, adam_eps: eps, weight_decay: weightDecay, groups } = config.optimizer;
  const byName: Record<string, GroupOptions> = {};
  for (const group of groups) {
    byName[group.match] = { lrScale: group.lr_scale, weightDecay: group.weight_decay ?? weightDecay };
  }
  return new Adam(model.arena, { betas, eps, weightDecay, groups: byName });
}

/** Trainable numbers of the student. */
export function parameterCount(model: Data2Vec): number {
  let count = 0;
  for (const { size } of model.arena.entries.values()) count += size;
  return count;
}

/**
 * Measures what an update of each modality needs and compares it with what there is.
 * @returns a line for the user: the most that one needs
 * @throws D2vError when it does not fit
 */
export async function checkRunMemory(
  config: AnyConfig,
  model: Data2Vec,
  parts: readonly RunPart[],
): Promise<string> {
  let most = { bytes: 0, line: '' };
  for (const part of parts) {
    const { batch, longest } = await part.probe();
    const fixed = k.memoryStats(model.arena.device).current;
    const need = measureNeed(batch.size, fixed, (samples) =>
      peakOf(model, part.name, firstSamples(batch, samples)),
    );
    k.emptyCache(model.arena.device);
    const samples = largestBatch(part.view, longest);
    const section = isJoint(config) ? `data.${part.name}` : 'data';
    const line = checkMemory(need, part.view, samples, memoryForRun(model.arena.device), section);
    const bytes = totalNeed(need, samples);
    if (bytes > most.bytes) most = { bytes, line };
  }
  return most.line;
}

/** Peak of memory of forward and backward beyond what is in use; leaves the model as it was. */
function peakOf(model: Data2Vec, modality: string, batch: Batch): number {
  const { device } = model.arena;
  const before = k.memoryStats(device).current;
  k.resetPeakMemory(device);
  const plan = model.plan(batch, { modality, update: model.numUpdates, firstSample: 0 });
  const result = model.forward(plan, { totalSampleSize: plan.sampleSize });
  result.backward();
  result.dispose();
  model.arena.zeroGrad();
  return k.memoryStats(device).peak - before;
}

/** @throws D2vError when not even one checkpoint fits on the disk */
export async function checkDiskSpace(model: Data2Vec, runDir: string): Promise<void> {
  let needed = 2 * 4 * model.arena.length;
  for (const { size } of model.stateDict().values()) needed += 4 * size;
  const free = await freeBytes(runDir);
  if (free === undefined || free > needed) return;
  throw new D2vError(
    `a checkpoint of this run needs ${formatBytes(needed)}, but only ${formatBytes(free)} are free in ${runDir}: make room, or choose another folder with --run`,
  );
}
