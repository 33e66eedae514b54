import type { Device, RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import { Parameter } from '../tensor/parameter.js';
import { type Entry, type LayoutOptions, layOut, type Range } from './arena-layout.js';
import { initialise } from './init.js';
import { cloneModule, type Module } from './module.js';

export type { Entry, Range } from './arena-layout.js';

export interface ArenaOptions extends LayoutOptions {
  /** Seed of the initial values. */
  seed: number;
  /** Default 'cpu'. */
  device?: Device;
  /** False: weights only, nothing gets a gradient (inference). Default true. */
  training?: boolean;
  /** 'bf16': keeps a bf16 copy of the weights for bf16 activations; refresh it after every change. Default 'f32'. */
  dtype?: 'f32' | 'bf16';
}

/** Which flat buffer: the student's values, its gradients, Adam's moments, the teacher's values. */
export type ArenaBuffer = 'weights' | 'grads' | 'm' | 'v' | 'teacher';

/**
 * All parameters of a module tree in flat f32 buffers, so that the optimizer, the average for the teacher, the gradient
 * norm and zeroing are one kernel call each per range. A `Parameter` is a view; the teacher's is the same view of another
 * buffer. What the teacher averages comes first, so its buffer mirrors the beginning of the student's.
 */
export class ParameterArena {
  readonly ranges: readonly Range[];
  readonly entries: ReadonlyMap<string, Entry>;
  /** Elements of each buffer (parameters are padded to 64 bytes; padding is zero and stays zero). */
  readonly length: number;
  /** Elements of the teacher's buffer. */
  readonly averagedLength: number;
  readonly device: Device;
  private readonly flat: Partial<Record<ArenaBuffer, RawTensor>> = {};
  private readonly copies: { of: ArenaBuffer; raw: RawTensor }[] = [];
  private readonly fixed = new Map<string, RawTensor>();
  private readonly views: RawTensor[] = [];
  private readonly names = new Map<Parameter, string>();

  constructor(
    module: Module,
    private readonly options: ArenaOptions,
  ) {
    this.device = options.device ?? 'cpu';
    const named = [...module.namedParameters()];
    const layout = layOut(
      named.filter(([, p]) => p.trainable),
      options,
    );
    this.ranges = layout.ranges;
    this.entries = layout.entries;
    this.length = layout.length;
    this.averagedLength = layout.averagedLength;
    const weights = this.allocate('weights');
    if (options.training ?? true) this.allocate('grads');
    const compute = this.computeCopy('weights', weights);
    for (const [name, p] of named) {
      this.names.set(p, name);
      const entry = this.entries.get(name);
      if (entry) {
        const value = this.cut(weights, entry);
        initialise(value, p.init, name, options.seed);
        p.bind(name, {
          value,
          grad: this.flat.grads ? this.cut(this.flat.grads, entry) : null,
          compute: compute && this.cut(compute, entry),
        });
      } else {
        const value = this.own(k.zeros(p.shape, 'f32', this.device));
        initialise(value, p.init, name, options.seed);
        this.fixed.set(name, value);
        p.bind(name, { value, grad: null });
      }
    }
    this.refresh();
  }

  /** A flat buffer; the moments and the teacher's come into being (zeros, a copy of the student) when asked for. */
  buffer(which: ArenaBuffer): RawTensor {
    const present = this.flat[which];
    if (present) return present;
    if (which === 'grads') throw new D2vError('This model was built for inference; it has no gradients.');
    const raw = this.allocate(which);
    if (which === 'teacher') {
      this.computeCopy('teacher', raw);
      this.resetTeacher();
    }
    return raw;
  }

  /** Whether a buffer exists yet. */
  has(which: ArenaBuffer): boolean {
    return this.flat[which] !== undefined;
  }

  /** The views of a buffer by parameter name (for checkpoints): live, the caller disposes of the handles. */
  named(which: ArenaBuffer): Map<string, RawTensor> {
    const raw = this.buffer(which);
    const result = new Map<string, RawTensor>();
    for (const [name, entry] of this.entries) {
      if (which !== 'teacher' || entry.averaged) result.set(name, raw.view(entry.offset, entry.shape));
    }
    return result;
  }

  /**
   * A second tree of the same modules whose parameters are the teacher's: views of the same places in the teacher's
   * buffer, without gradients. Buffers, and parameters that are not averaged, are the student's own.
   *
   * @param module the tree the arena was built for, or a part of it
   */
  bindTeacher<M extends Module>(module: M): M {
    const teacher = this.averagedLength > 0 ? this.buffer('teacher') : null;
    const compute = this.copies.find((c) => c.of === 'teacher')?.raw;
    return cloneModule(module, (p) => {
      const name = this.names.get(p);
      if (name === undefined) throw new Error(`parameter '${p.name}' is not in this arena`);
      const twin = new Parameter(p.shape, { init: p.init, trainable: false });
      const entry = this.entries.get(name);
      if (entry?.averaged) {
        const value = this.cut(teacher!, entry);
        twin.bind(name, { value, grad: null, compute: compute && this.cut(compute, entry) });
      } else {
        twin.bind(name, { value: p.raw, grad: null, compute: p.valueFor('bf16') });
      }
      return twin;
    });
  }

  /** Makes the teacher a copy of the student. */
  resetTeacher(): void {
    const teacher = this.buffer('teacher');
    if (this.averagedLength === 0) return;
    const part = this.flat.weights!.view(0, [this.averagedLength]);
    k.copy_(teacher, part);
    part.dispose();
    this.refresh();
  }

  /** Brings the bf16 copies up to date; call it after the weights have changed. Does nothing in f32. */
  refresh(): void {
    for (const { of, raw } of this.copies) k.copy_(raw, this.flat[of]!);
  }

  /** The global L2 norm of the gradients. */
  gradNorm(): number {
    return k.scope(() => Math.sqrt(k.item(k.sumSquares(this.buffer('grads')))));
  }

  zeroGrad(): void {
    k.fill_(this.buffer('grads'), 0);
  }

  /** Frees everything; the modules can't be used afterwards. */
  dispose(): void {
    for (const raw of [...this.views, ...this.copies.map((c) => c.raw), ...Object.values(this.flat)]) {
      raw.dispose();
    }
  }

  private allocate(which: ArenaBuffer): RawTensor {
    const length = which === 'teacher' ? this.averagedLength : this.length;
    // A model may have nothing to train; a native tensor has at least one element.
    const raw = k.keep(k.zeros([Math.max(length, 1)], 'f32', this.device));
    this.flat[which] = raw;
    return raw;
  }

  private computeCopy(of: ArenaBuffer, source: RawTensor): RawTensor | null {
    if (this.options.dtype !== 'bf16') return null;
    const raw = k.keep(k.zeros(source.shape, 'bf16', this.device));
    this.copies.push({ of, raw });
    return raw;
  }

  private cut(raw: RawTensor, entry: Entry): RawTensor {
    return this.own(raw.view(entry.offset, entry.shape));
  }

  private own(raw: RawTensor): RawTensor {
    this.views.push(k.keep(raw));
    return raw;
  }
}
