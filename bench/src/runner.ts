import { Adam, type Batch, Data2Vec, type Modality, type RunConfig, resolveDtype } from '@d2v/core';
import * as k from '@d2v/cuda-kernels';
import type { ModelSize } from './roofline.js';

/** Parts of an update, in their order. */
export const PHASES = ['masks', 'forward', 'backward', 'clip, Adam, EMA'] as const;
export type Phase = (typeof PHASES)[number];

export function modelSize({ arena }: Data2Vec): ModelSize {
  let parameters = 0;
  for (const { size } of arena.entries.values()) parameters += size;
  return { parameters, averaged: arena.averagedLength };
}

/** One model, one batch, and updates on it: the trainer's own steps on data that is in memory. */
export class UpdateRunner {
  private readonly model: Data2Vec;
  private readonly optimizer: Adam;
  private updates = 0;
  private kept = 0;

  constructor(
    private readonly modality: Modality,
    private readonly config: RunConfig,
    /** What the next update sees. */
    public batch: Batch,
    private readonly device: string,
  ) {
    const { model, common, optimizer } = config;
    k.setTf32(device, common.tf32);
    this.model = Data2Vec.create({
      config: model,
      modalities: [modality],
      seed: common.seed,
      device,
      dtype: resolveDtype(common.dtype, device),
    });
    this.optimizer = new Adam(this.model.arena, {
      betas: optimizer.adam_betas,
      eps: optimizer.adam_eps,
      weightDecay: optimizer.weight_decay,
    });
  }

  get size(): ModelSize {
    return modelSize(this.model);
  }

  /** Tokens that the student saw of a row, the mean over all updates so far. */
  get meanKept(): number {
    return this.kept / this.updates;
  }

  /** Enqueues one update. `onPhase` hears of the end of each phase, which is waited for then. */
  async update(onPhase?: (phase: Phase) => void): Promise<void> {
    const graph = this.config.common.cuda_graphs && this.updates > 0 && !onPhase;
    if (graph) await k.recorded(this.device, () => this.enqueue());
    else this.enqueue(onPhase);
  }

  private enqueue(onPhase?: (phase: Phase) => void): void {
    const { model, optimizer, config, modality } = this;
    const end = (phase: Phase) => {
      if (!onPhase) return;
      k.synchronize(this.device);
      onPhase(phase);
    };
    const done = model.numUpdates + 1;
    const plan = model.plan(this.batch, {
      modality: modality.name,
      update: model.numUpdates,
      firstSample: 0,
    });
    this.updates++;
    this.kept += plan.mask.keptPerRow;
    end('masks');
    const result = model.forward(plan, { totalSampleSize: plan.sampleSize });
    const losses = result.deviceLosses();
    end('forward');
    result.backward();
    end('backward');
    const { lr, clip_norm: clipNorm } = config.optimization;
    optimizer.step({ lr, clipNorm, emaDecay: model.emaSchedule.decayAt(done), losses });
    for (const raw of losses) raw.dispose();
    model.finishUpdate(done);
    end('clip, Adam, EMA');
  }

  /**
   * Seconds of each of `count` updates. A device that works on its own is kept busy, as the trainer keeps it: there it is
   * the mean of all, once.
   */
  async measure(count: number): Promise<number[]> {
    const each = k.asynchronous(this.device) ? count : 1;
    const seconds: number[] = [];
    while (seconds.length < count / each) {
      k.synchronize(this.device);
      const start = performance.now();
      for (let i = 0; i < each; i++) await this.update();
      k.synchronize(this.device);
      seconds.push((performance.now() - start) / 1000 / each);
    }
    return seconds;
  }

  dispose(): void {
    this.model.dispose();
  }
}
