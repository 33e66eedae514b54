import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import { GradientStore } from './gradient-store.js';
import { Tensor } from './tensor.js';

export { scope } from '@d2v/cuda-kernels';

/** What an operation stores for its backward pass: native tensors (held by the tape) and plain values. */
export type Saved = object;

/** The gradient of one input: computed only when that input needs it. Null or nothing: already accumulated. */
// biome-ignore lint/suspicious/noConfusingVoidType: a thunk that accumulates in place returns nothing
export type GradThunk = () => RawTensor | null | void;

/**
 * The gradient of an operation: given the gradient of its output and what the forward pass saved, one thunk per input
 * (null: this input has none, or another thunk accumulates it). A thunk returns a fresh native tensor of the input's
 * shape, or `g.dy` itself, which is then shared and not copied. Temporaries are freed by the engine.
 */
export type Rule<S extends Saved> = (g: Gradient, saved: S) => (GradThunk | null)[];

/** What a rule sees of the backward pass. */
export interface Gradient {
  /** Gradient with respect to the output. Read only: it may be shared with other operations. */
  readonly dy: RawTensor;
  /** Whether input `i` is there and needs a gradient. */
  needs(i: number): boolean;
  /** A gradient already present for input `i` that may be added to in place (then return it), or undefined. */
  into(i: number): RawTensor | undefined;
  /** An f32 buffer to accumulate the gradient of input `i` into: a parameter's own gradient, or zeros. */
  target(i: number): RawTensor;
  /** Says that this rule reads `dy` no more, so that others who share its memory may write to it. */
  release(): void;
  /** Marks a view of `dy` that a thunk returns, so that its memory is known to be shared. */
  share(view: RawTensor): RawTensor;
}

/** @internal One step of the tape. */
export interface Node {
  readonly id: number;
  readonly name: string;
  readonly inputs: readonly (Tensor | null)[];
  readonly output: Tensor;
  readonly run: (g: Gradient) => (GradThunk | null)[];
  readonly held: RawTensor[];
  spent: boolean;
}

let nextId = 0;
let disabled = 0;

/** True unless inside `noGrad`. */
export function gradEnabled(): boolean {
  return disabled === 0;
}

/** Runs `fn` without recording: nothing made inside has a gradient. For synchronous functions only. */
export function noGrad<T>(fn: () => T): T {
  disabled++;
  try {
    const result = fn();
    if (result instanceof Promise) {
      throw new D2vError('noGrad() got an async function; give it a synchronous one and await outside.');
    }
    return result;
  } finally {
    disabled--;
  }
}

/** Whether an operation on these inputs would be recorded (then it has to save what its gradient needs). */
export function recording(inputs: readonly (Tensor | null | undefined)[]): boolean {
  return disabled === 0 && inputs.some((t) => t?.requiresGrad);
}

function isRaw(value: unknown): value is RawTensor {
  return typeof value === 'object' && value !== null && value instanceof k.RawTensor;
}

/**
 * Wraps the native result of an operation into a Tensor and, if any input needs a gradient, puts it on the tape.
 *
 * @param name shown in error messages and profiles
 * @param rule the gradient
 * @param inputs in the order of the rule's thunks; null for absent optional ones
 * @param out the native result
 * @param saved what the rule needs; native tensors in it are held by the tape until the backward pass has used them
 * @param fresh those of the saved native tensors that the forward pass made for the rule alone: the tape owns them, and
 *   frees them at once when nothing is recorded
 */
export function record<S extends Saved>(
  name: string,
  rule: Rule<S>,
  inputs: readonly (Tensor | null | undefined)[],
  out: RawTensor,
  saved: S,
  fresh: readonly (RawTensor | null | undefined)[] = [],
): Tensor {
  const output = new Tensor(out);
  if (!recording(inputs)) {
    for (const t of fresh) t?.dispose();
    return output;
  }
  output.requiresGrad = true;
  const held: RawTensor[] = [];
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(saved)) {
    if (!isRaw(value)) {
      kept[key] = value;
      continue;
    }
    const handle = fresh.includes(value) ? value : value.reshape(value.shape);
    held.push(handle);
    kept[key] = handle;
  }
  output.node = {
    id: nextId++,
    name,
    inputs: inputs.map((t) => t ?? null),
    output,
    run: (g) => rule(g, kept as S),
    held,
    spent: false,
  };
  return output;
}

/**
 * An operation of one's own from TypeScript: `forward` computes on native tensors, `backward` gives the gradients.
 * Intermediate values of `forward` are freed. Native tensors in `saved` are held until the backward pass has used them;
 * those that `forward` made for this purpose alone are named in `fresh`, so that the tape frees them.
 *
 * ```ts
 * const cube = (x: Tensor) => customOp({
 *   name: 'cube',
 *   inputs: [x],
 *   forward: () => {
 *     const square = raw.mul(x.raw, x.raw);
 *     return { out: raw.mul(square, x.raw), saved: { square }, fresh: [square] };
 *   },
 *   backward: ({ dy }, { square }) => [() => raw.scale(raw.mul(dy, square), 3)],
 * });
 * ```
 */
export function customOp<S extends Saved>(definition: {
  name: string;
  inputs: readonly (Tensor | null | undefined)[];
  forward: () => { out: RawTensor; saved: S; fresh?: readonly RawTensor[] };
  backward: Rule<S>;
}): Tensor {
  const { name, inputs, forward, backward: rule } = definition;
  const { out, saved, fresh } = k.scope(forward);
  return record(name, rule, inputs, out, saved, fresh);
}

/** All steps that led to these tensors, newest first: each comes before everything it was computed from. */
function history(roots: readonly Tensor[]): Node[] {
  const seen = new Set<Node>();
  const stack = roots.map((t) => t.node);
  while (stack.length > 0) {
    const node = stack.pop();
    if (!node || seen.has(node)) continue;
    seen.add(node);
    for (const input of node.inputs) if (input?.node) stack.push(input.node);
  }
  return [...seen].sort((a, b) => b.id - a.id);
}

/**
 * Computes the gradients of a scalar (or of the sum of several) with respect to every leaf that needs one, and adds them
 * to the leaves' `grad`; parameters accumulate straight into their arena. Each step's saved values and output are freed
 * as soon as its gradient has been passed on, so memory falls while the pass runs; `keep()` a tensor to read it later.
 *
 * @param loss one or several tensors of one element
 * @param seed the gradient of each loss, e.g. a loss scale
 * @throws D2vError when there is nothing to differentiate, or when a tape is used a second time
 */
export function backward(loss: Tensor | readonly Tensor[], seed = 1): void {
  const losses = loss instanceof Tensor ? [loss] : loss;
  const roots = losses.filter((t) => t.requiresGrad);
  if (roots.length === 0) {
    throw new D2vError(
      'backward() got a loss that depends on no tensor with requiresGrad (made in noGrad?).',
    );
  }
  const store = new GradientStore();
  try {
    for (const root of roots) {
      if (root.size !== 1)
        throw new D2vError(`backward() needs scalars, got shape [${root.shape.join(', ')}].`);
      store.add(root, k.keep(k.full(root.shape, seed, root.dtype, root.device)));
    }
    for (const node of history(roots)) {
      if (node.spent)
        throw new D2vError(`backward() ran through '${node.name}' before; its values are gone.`);
      store.propagate(node);
      node.spent = true;
      for (const t of node.held) t.dispose();
      if (!node.output.kept && !roots.includes(node.output)) node.output.dispose();
    }
  } finally {
    store.dispose();
  }
}
