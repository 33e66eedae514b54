/** The class RawTensor, and scopes. */
import { native } from './native.js';
import type { RawTensor as RawTensorType, Shape } from './types.js';

export type RawTensor = RawTensorType;

/** Made by the functions of this package only; here for `instanceof`. */
export const RawTensor = native.RawTensor;

Object.defineProperties(RawTensor.prototype, {
  view: {
    value(this: RawTensor, offset: number, shape: Shape) {
      return native.view!(this, offset, shape);
    },
    writable: true,
    configurable: true,
  },
  reshape: {
    value(this: RawTensor, shape: Shape) {
      const size = Array.isArray(shape) ? shape.reduce((a, b) => a * Number(b), 1) : Number.NaN;
      if (size !== this.size) {
        throw new Error(`reshape: shape [${shape}] has other elements than [${this.shape}]`);
      }
      return native.view!(this, 0, shape);
    },
    writable: true,
    configurable: true,
  },
  [Symbol.for('nodejs.util.inspect.custom')]: {
    value(this: RawTensor) {
      return `RawTensor ${this.dtype}[${this.shape.join(', ')}]${this.disposed ? ' (disposed)' : ''}`;
    },
    configurable: true,
  },
});

/** Tensors reachable from `value` through arrays, plain objects, Maps, Sets and objects with a `raw` tensor. */
function collect(value: unknown, found: RawTensor[], seen: Set<object>): void {
  if (typeof value !== 'object' || value === null || seen.has(value)) return;
  seen.add(value);
  if (value instanceof RawTensor) {
    found.push(value as RawTensor);
    return;
  }
  if (Array.isArray(value)) {
    for (const element of value) collect(element, found, seen);
    return;
  }
  if (value instanceof Map) {
    for (const [key, element] of value) {
      collect(key, found, seen);
      collect(element, found, seen);
    }
    return;
  }
  if (value instanceof Set) {
    for (const element of value) collect(element, found, seen);
    return;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    for (const element of Object.values(value)) collect(element, found, seen);
  } else if ('raw' in value) {
    collect(value.raw, found, seen);
  }
}

/**
 * Runs `fn` and frees every tensor that was made meanwhile, except those in its result (searched through arrays, plain
 * objects, Maps, Sets and objects with a `raw` tensor), which then belong to the scope outside. Tensors are also freed
 * when `fn` throws. For synchronous functions only.
 */
export function scope<T>(fn: () => T): T {
  const id = native.scopeBegin!();
  const kept: RawTensor[] = [];
  try {
    const result = fn();
    if (result instanceof Promise) {
      result.catch(() => {}); // it fails on freed tensors; the error below is the one to see
      throw new Error('scope: the function is asynchronous; use scopes inside of it, between awaits');
    }
    collect(result, kept, new Set());
    return result;
  } finally {
    native.scopeEnd!(id, kept);
  }
}

/** Takes a tensor out of all scopes: it lives until `dispose()`. */
export function keep<T extends RawTensor>(t: T): T {
  native.keep!(t);
  return t;
}
