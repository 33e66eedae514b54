import type { RawTensor, Readback } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import type { ParameterArena, Range } from '../nn/arena.js';

/** Settings of one parameter group; what is missing is the optimizer's own. */
export interface GroupOptions {
  /** Factor on the learning rate of the schedule. Default 1. */
  lrScale?: number;
  betas?: readonly [number, number];
  eps?: number;
  weightDecay?: number;
}

export interface AdamOptions {
  betas?: readonly [number, number];
  eps?: number;
  /** Decoupled: p -= lr * weightDecay * p before the step, on the arena's decaying ranges. */
  weightDecay?: number;
  /** By the arena's group name. */
  groups?: Record<string, GroupOptions>;
}

export interface StepOptions {
  lr: number;
  /** Learning rates of groups that don't follow `lr` (times their `lrScale`). */
  groupLr?: Record<string, number>;
  /** Factor on the summed gradients: 1 / sample size. Default 1. */
  gradScale?: number;
  /** Largest global norm of the scaled gradients; 0: no clipping. */
  clipNorm?: number;
  /** Also moves the teacher: teacher = decay * teacher + (1 - decay) * weights, in the same pass. 1: left alone. */
  emaDecay?: number;
  /**
   * Whose gradients these are: parameters that belong to another owner take no step. Their moments and step counts stay
   * as they are, and nothing decays; the teacher's average goes on. Default: all take part.
   */
  owner?: string;
  /** The losses that the gradients are of, f64: unless all are finite, the step is not applied. */
  losses?: readonly RawTensor[];
}

/** What became of a step; read from the device when it is first asked for. */
export class StepResult {
  constructor(
    private readonly control: Readback,
    private readonly gradScale: number,
  ) {}

  /** Global norm of the scaled gradients before clipping. */
  get gradNorm(): number {
    return this.values[0]!;
  }

  /** What clipping multiplied them by. */
  get clipFactor(): number {
    return this.values[1]! / this.gradScale;
  }

  /** False when the norm or a loss was not finite: then nothing but the gradients (zeroed) has changed. */
  get applied(): boolean {
    return this.values[2] === 1;
  }

  private get values(): Float64Array {
    return this.control.get()[0] as Float64Array;
  }
}

/**
 * Adam with decoupled weight decay, as fairseq computes it: eps is added to sqrt(v) before the bias correction. Runs on
 * the flat buffers of an arena; clipping, zeroing the gradients and the teacher's average are part of the same pass. Whether
 * a step is applied is decided on the device, so `step` waits for nothing.
 */
export class Adam {
  /** By clock, see `clockOf`. */
  private readonly steps = new Map<string, number>();

  constructor(
    readonly arena: ParameterArena,
    readonly options: AdamOptions = {},
  ) {
    const known = new Set(arena.ranges.map((r) => r.group));
    for (const name of Object.keys(options.groups ?? {})) {
      if (!known.has(name)) {
        throw new D2vError(
          `optimizer.groups: no parameter is in group '${name}'; there are ${[...known].join(', ')}.`,
        );
      }
    }
    for (const range of arena.ranges) this.steps.set(clockOf(range), 0);
    arena.buffer('m');
    arena.buffer('v');
  }

  /**
   * How many steps each group of each owner has taken, applied or not (for checkpoints; the moments are the arena's `m` and
   * `v`).
   */
  stepCounts(): Record<string, number> {
    return Object.fromEntries(this.steps);
  }

  /** Restores what `stepCounts` gave. */
  loadStepCounts(counts: Record<string, number>): void {
    for (const clock of this.steps.keys()) this.steps.set(clock, counts[clock] ?? 0);
  }

  /** One update from the gradients in the arena, which are zero afterwards. */
  step(options: StepOptions): StepResult {
    const { arena } = this;
    const { gradScale = 1, clipNorm = 0, owner, losses = [] } = options;
    const present = arena.ranges.filter((range) => !owner || !range.owner || range.owner === owner);
    for (const clock of new Set(present.map(clockOf))) this.steps.set(clock, this.steps.get(clock)! + 1);
    const read = k.scope(() => {
      const squares = k.sumSquares(arena.buffer('grads'));
      const judged = losses.length > 0 ? k.concat(losses, 0) : null;
      const control = k.gradControl(squares, judged, { gradScale, clipNorm });
      for (const range of arena.ranges) {
        if (present.includes(range)) this.update(range, options, control);
        else this.average(range, options.emaDecay, control);
      }
      return k.readLater([control]);
    });
    arena.refresh();
    return new StepResult(read, gradScale);
  }

  /** The teacher's average alone, for parameters that take no step. */
  private average(range: Range, emaDecay: number | undefined, control: RawTensor): void {
    const { arena } = this;
    if (!range.averaged || emaDecay === undefined || emaDecay >= 1 || !arena.has('teacher')) return;
    const cut = (which: 'weights' | 'teacher') => arena.buffer(which).view(range.start, [range.length]);
    k.ema_(cut('teacher'), cut('weights'), emaDecay, control);
  }

  private update(range: Range, options: StepOptions, control: RawTensor): void {
    const { arena } = this;
    const own = this.options.groups?.[range.group] ?? {};
    const [beta1, beta2] = own.betas ?? this.options.betas ?? [0.9, 0.98];
    const { emaDecay } = options;
    const cut = (which: 'weights' | 'grads' | 'm' | 'v' | 'teacher') =>
      arena.buffer(which).view(range.start, [range.length]);
    const averages = range.averaged && emaDecay !== undefined && arena.has('teacher');
    k.adam_(cut('weights'), cut('grads'), cut('m'), cut('v'), {
      lr: (options.groupLr?.[range.group] ?? options.lr) * (own.lrScale ?? 1),
      beta1,
      beta2,
      eps: own.eps ?? this.options.eps ?? 1e-8,
      weightDecay: range.decay ? (own.weightDecay ?? this.options.weightDecay ?? 0) : 0,
      step: this.steps.get(clockOf(range))!,
      control,
      zeroGrad: true,
      ...(averages && { teacher: cut('teacher'), emaDecay }),
    });
  }
}

/** Parameters with the same count of steps: a group, of one owner if it has one. */
const clockOf = ({ group, owner }: Range): string => (owner === null ? group : `${group} of ${owner}`);
