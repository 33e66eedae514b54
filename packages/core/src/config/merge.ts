import { isPlain, type Plain } from './layer.js';

/**
 * Lays `over` on `under`: sections merge key by key, lists and scalars are replaced. Neither argument is changed.
 * An undefined value in `over` (an option that was not given) leaves what is below.
 */
export function mergePlain(under: Plain, over: Plain): Plain {
  const result: Plain = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const below = Object.hasOwn(under, key) ? under[key] : undefined;
    const merged = isPlain(value) ? mergePlain(isPlain(below) ? below : {}, value) : value;
    // Not `result[key] = ...`: a key named __proto__ would change the prototype.
    Object.defineProperty(result, key, {
      value: merged,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return result;
}

/** The value at a path of plain data, or undefined. */
export function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** `{a: {b: value}}` for the path a, b. */
export function nest(path: readonly string[], value: unknown): Plain {
  let result: unknown = value;
  for (const key of [...path].reverse()) {
    result = Object.defineProperty({}, key, {
      value: result,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return result as Plain;
}
