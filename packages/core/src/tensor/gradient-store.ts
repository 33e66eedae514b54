import type { Device, DType, RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import type { Gradient, Node } from './autograd.js';
import type { Tensor } from './tensor.js';

/** How many pending gradients share one piece of memory. It may be written to only by its last user. */
interface Sharing {
  users: number;
}

/** The gradient of a tensor, complete once every step that used the tensor has been passed. */
interface Slot {
  raw: RawTensor;
  sharing: Sharing;
}

/**
 * The gradients in flight during one backward pass. Fan-out is summed in place where the memory has one user; a gradient
 * that passes unchanged (residual connections) is shared, not copied.
 */
export class GradientStore {
  private readonly slots = new Map<Tensor, Slot>();

  /** Adds a gradient that nobody else uses; the store owns it from now on. */
  add(tensor: Tensor, raw: RawTensor): void {
    this.merge(tensor, { raw, sharing: { users: 1 } });
  }

  /** Runs one step's rule on the gradient of its output and hands the results to its inputs. */
  propagate(node: Node): void {
    const slot = this.slots.get(node.output);
    if (!slot) return;
    this.slots.delete(node.output);
    k.scope(() => {
      const gradient = new StepGradient(this, node, slot);
      const results: [Tensor, RawTensor][] = [];
      for (const [i, thunk] of node.run(gradient).entries()) {
        const raw = thunk && gradient.needs(i) ? thunk() : null;
        const input = node.inputs[i];
        if (!raw || !input || raw === this.current(input)) continue;
        // What the tape holds is about to be freed, and may be some tensor's value: a gradient needs memory of its own.
        results.push([input, node.held.includes(raw) ? k.scale(raw, 1) : raw]);
      }
      this.deliver(results, slot, gradient.views);
    });
    release(slot);
  }

  /** The gradient that has arrived for a tensor so far. */
  current(tensor: Tensor): RawTensor | undefined {
    return tensor.node ? this.slots.get(tensor)?.raw : (tensor.grad ?? undefined);
  }

  /** As `current`, but only if it may be written to. */
  writable(tensor: Tensor): RawTensor | undefined {
    if (!tensor.node) return tensor.grad ?? undefined;
    const slot = this.slots.get(tensor);
    return slot?.sharing.users === 1 ? slot.raw : undefined;
  }

  dispose(): void {
    for (const slot of this.slots.values()) release(slot);
    this.slots.clear();
  }

  private deliver(results: [Tensor, RawTensor][], from: Slot, views: Set<RawTensor>): void {
    const sharings = new Map<RawTensor, Sharing>([[from.raw, from.sharing]]);
    const slots = results.map(([input, raw]): [Tensor, Slot] => {
      let sharing = views.has(raw) ? from.sharing : sharings.get(raw);
      // A second use of the same memory (or a use of dy) gets a handle of its own.
      const handle = sharings.has(raw) ? raw.reshape(input.shape) : raw;
      if (sharing) sharing.users++;
      else sharing = { users: 1 };
      sharings.set(raw, sharing);
      return [input, { raw: k.keep(handle), sharing }];
    });
    for (const [input, slot] of slots) this.merge(input, slot);
  }

  private merge(tensor: Tensor, slot: Slot): void {
    if (!tensor.node) {
      mergeLeaf(tensor, slot);
      return;
    }
    const old = this.slots.get(tensor);
    if (!old) {
      this.slots.set(tensor, slot);
    } else if (old.sharing.users === 1) {
      addInto(old.raw, slot.raw);
      release(slot);
    } else if (slot.sharing.users === 1 && slot.raw.dtype === old.raw.dtype) {
      addInto(slot.raw, old.raw);
      this.slots.set(tensor, slot);
      release(old);
    } else {
      const sum = k.scope(() => k.add(old.raw, ofType(slot.raw, old.raw.dtype)));
      this.slots.set(tensor, { raw: k.keep(sum), sharing: { users: 1 } });
      release(old);
      release(slot);
    }
  }
}

/** The face of the store that one rule sees. */
class StepGradient implements Gradient {
  readonly views = new Set<RawTensor>();
  private readonly dtype: DType;
  private readonly device: Device;

  constructor(
    private readonly store: GradientStore,
    private readonly node: Node,
    private readonly slot: Slot,
  ) {
    this.dtype = slot.raw.dtype;
    this.device = slot.raw.device;
  }

  get dy(): RawTensor {
    return this.slot.raw;
  }

  needs(i: number): boolean {
    return this.node.inputs[i]?.requiresGrad ?? false;
  }

  into(i: number): RawTensor | undefined {
    const present = this.store.writable(this.node.inputs[i]!);
    return present?.dtype === this.dtype ? present : undefined;
  }

  target(i: number): RawTensor {
    const input = this.node.inputs[i]!;
    const present = this.store.writable(input);
    if (present?.dtype === 'f32') return present;
    this.store.add(input, k.keep(k.zeros(input.shape, 'f32', this.device)));
    const buffer = this.store.writable(input);
    if (!buffer) throw new Error(`no buffer for the gradient of input ${i} of '${this.node.name}'`);
    return buffer;
  }

  release(): void {
    release(this.slot);
  }

  share(view: RawTensor): RawTensor {
    this.views.add(view);
    return view;
  }
}

function release(slot: Slot): void {
  if (slot.raw.disposed) return;
  slot.raw.dispose();
  slot.sharing.users--;
}

function addInto(target: RawTensor, value: RawTensor): void {
  k.axpy_(target, 1, ofType(value, target.dtype));
}

/** Operands of one call have one dtype. */
function ofType(value: RawTensor, dtype: DType): RawTensor {
  return value.dtype === dtype ? value : k.cast(value, dtype);
}

function mergeLeaf(leaf: Tensor, slot: Slot): void {
  if (leaf.grad) {
    addInto(leaf.grad, slot.raw);
    release(slot);
  } else if (slot.sharing.users === 1 && slot.raw.dtype === 'f32') {
    leaf.grad = slot.raw;
  } else {
    leaf.grad = k.keep(k.zeros(leaf.shape, 'f32', slot.raw.device));
    addInto(leaf.grad, slot.raw);
    release(slot);
  }
}
