import type { RunConfig } from '../config/schema.js';
import { D2vError } from '../errors.js';

/** Learning rate of an update from the number of updates already done (0 for the very first). */
export type Schedule = (updatesDone: number) => number;

type SchedulerConfig = RunConfig['lr_scheduler'];

/**
 * Builds the learning-rate schedule. All follow the original's conventions, so a run configured with its numbers gets
 * the same rates: with warm-up, the very first update of `cosine` and `polynomial` has rate `warmup_init_lr` (0 by
 * default), while `constant` starts at `lr / warmup_updates`.
 *
 * @param config the `lr_scheduler` section
 * @param peak `optimization.lr`: the rate after warm-up
 * @param maxUpdate `optimization.max_update`, the length that schedules span by default; null for an open end
 * @throws D2vError when the numbers contradict each other, or a schedule has no length
 */
export function createSchedule(config: SchedulerConfig, peak: number, maxUpdate: number | null): Schedule {
  switch (config.name) {
    case 'cosine':
      return cosine(config, peak, maxUpdate);
    case 'tri_stage':
      return triStage(config, peak, maxUpdate);
    case 'polynomial':
      return polynomial(config, peak, maxUpdate);
    case 'constant':
      return constant(config, peak);
    default:
      return config.name satisfies never;
  }
}

function lengthOf(maxUpdate: number | null, key: string): number {
  if (maxUpdate !== null) return maxUpdate;
  throw new D2vError(
    `this lr_scheduler spans the run: set optimization.max_update or lr_scheduler.${key}, or use lr_scheduler.name=constant`,
  );
}

function cosine(config: SchedulerConfig, peak: number, maxUpdate: number | null): Schedule {
  const warmup = config.warmup_updates;
  const floor = Math.min(config.min_lr, peak);
  const start = config.warmup_init_lr ?? floor;
  // A run that ends within its warm-up has no period; it is never reached.
  const period = config.lr_period_updates ?? Math.max(1, lengthOf(maxUpdate, 'lr_period_updates') - warmup);
  return (done) => {
    if (done < warmup) return start + (done * (peak - start)) / warmup;
    const { cycle, progress } = cyclePosition(done - warmup, period, config.t_mult);
    const shrink = config.lr_shrink ** cycle;
    return shrink * (floor + 0.5 * (peak - floor) * (1 + Math.cos(Math.PI * progress)));
  };
}

/** Which restart an update belongs to, and how far it is in it (0 to 1); cycle i is `growth ** i` periods long. */
function cyclePosition(done: number, period: number, growth: number): { cycle: number; progress: number } {
  let cycle = 0;
  let start = 0;
  let length = period;
  if (growth === 1) {
    cycle = Math.floor(done / period);
    start = cycle * period;
  } else {
    while (done >= start + length) {
      start += length;
      length *= growth;
      cycle++;
    }
  }
  return { cycle, progress: (done - start) / length };
}

function triStage(config: SchedulerConfig, peak: number, maxUpdate: number | null): Schedule {
  const ratio = config.phase_ratio;
  if (ratio && Math.abs(ratio[0] + ratio[1] + ratio[2] - 1) > 1e-6) {
    throw new D2vError(`lr_scheduler.phase_ratio must add up to 1, but ${ratio.join(' + ')} does not`);
  }
  const phase = (share: number) =>
    Math.trunc(lengthOf(maxUpdate, 'warmup_steps, hold_steps, decay_steps') * share);
  const warmup = ratio ? phase(ratio[0]) : config.warmup_steps;
  const hold = ratio ? phase(ratio[1]) : config.hold_steps;
  const decay = ratio ? phase(ratio[2]) : config.decay_steps;
  if (warmup + hold + decay === 0) {
    throw new D2vError(
      'lr_scheduler tri_stage needs phase_ratio, or some of warmup_steps, hold_steps, decay_steps',
    );
  }
  if (decay > 0 && config.final_lr_scale <= 0) {
    throw new D2vError('lr_scheduler.final_lr_scale must be above 0: the decay of tri_stage is exponential');
  }
  const start = config.init_lr_scale * peak;
  const rate = decay > 0 ? Math.log(config.final_lr_scale) / decay : 0;
  return (done) => {
    if (done < warmup) return start + ((peak - start) / warmup) * done;
    if (done < warmup + hold) return peak;
    const decayed = done - warmup - hold;
    return decayed <= decay ? peak * Math.exp(rate * decayed) : peak * config.final_lr_scale;
  };
}

function polynomial(config: SchedulerConfig, peak: number, maxUpdate: number | null): Schedule {
  const warmup = config.warmup_updates;
  const total = config.total_num_update ?? lengthOf(maxUpdate, 'total_num_update');
  const start = config.warmup_init_lr ?? 0;
  const end = config.end_learning_rate;
  return (done) => {
    if (warmup > 0 && done <= warmup) return start + ((peak - start) * done) / warmup;
    if (done >= total) return end;
    return (peak - end) * (1 - (done - warmup) / (total - warmup)) ** config.power + end;
  };
}

function constant(config: SchedulerConfig, peak: number): Schedule {
  const warmup = config.warmup_updates;
  return (done) => (done < warmup ? (peak * (done + 1)) / warmup : peak);
}
