import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import { Parameter, type ParameterOptions } from '../tensor/parameter.js';
import type { Shape } from '../tensor/tensor.js';

/** Host values to load: what a checkpoint reader gives, or a native tensor. */
export type StateValue = RawTensor | { data: Float32Array; shape: Shape };

/**
 * A piece of a model: named parameters and named children, in the order of their declaration. Names make the state
 * dictionary (`blocks.0.attn.qkv.weight`), so they are part of the file format. Declare with `param`, `child`, `list`:
 *
 * ```ts
 * class Scale extends Module {
 *   readonly factor: Parameter;
 *   constructor(width: number) {
 *     super();
 *     this.factor = this.param('factor', [width], { init: ones });
 *   }
 *   forward(x: Tensor): Tensor { return mul(x, this.factor); }
 * }
 * ```
 *
 * A teacher is a copy of the tree made field by field (`cloneModule`): don't use `#private` fields in modules.
 */
export abstract class Module {
  private readonly members = new Map<string, Module | Parameter>();

  /** Declares a parameter. */
  protected param(name: string, shape: Shape, options: ParameterOptions): Parameter {
    return this.declare(name, new Parameter(shape, options));
  }

  /** Declares a tensor that is saved and loaded but neither trained nor averaged. */
  protected buffer(name: string, shape: Shape, init: ParameterOptions['init']): Parameter {
    return this.declare(name, new Parameter(shape, { init, trainable: false }));
  }

  /** Declares a child. */
  protected child<M extends Module>(name: string, module: M): M {
    return this.declare(name, module);
  }

  /** Declares a list of children, named by position: `blocks.0`, `blocks.1`, ... */
  protected list<M extends Module>(name: string, modules: M[]): M[] {
    this.declare(name, new ModuleList(modules));
    return modules;
  }

  /** @internal Shared by the above; also for containers that are filled from outside. */
  declare<T extends Module | Parameter>(name: string, member: T): T {
    if (this.members.has(name)) throw new Error(`${this.constructor.name} declares '${name}' twice`);
    this.members.set(name, member);
    return member;
  }

  /** Direct children by name, in order. */
  *children(): Generator<[string, Module]> {
    for (const [name, member] of this.members) if (member instanceof Module) yield [name, member];
  }

  /** This module and everything below it, parents first. */
  *modules(): Generator<Module> {
    yield this;
    for (const [, child] of this.children()) yield* child.modules();
  }

  /** All parameters and buffers below, with full names: own ones first, then the children's. Shared ones come once. */
  *namedParameters(prefix = '', seen = new Set<Parameter>()): Generator<[string, Parameter]> {
    for (const [name, member] of this.members) {
      if (member instanceof Parameter && !seen.has(member)) {
        seen.add(member);
        yield [prefix + name, member];
      }
    }
    for (const [name, child] of this.children()) yield* child.namedParameters(`${prefix}${name}.`, seen);
  }

  parameters(): Parameter[] {
    return [...this.namedParameters()].map(([, p]) => p);
  }

  /** Number of trainable values. */
  parameterCount(): number {
    return this.parameters().reduce((n, p) => n + (p.trainable ? p.size : 0), 0);
  }

  /** Names to live native tensors (views: copy what you keep). */
  stateDict(): Map<string, RawTensor> {
    return new Map([...this.namedParameters()].map(([name, p]) => [name, p.raw]));
  }

  /**
   * Copies values into the parameters by name.
   * @returns what was not there to load (`missing`) and what nothing here is called (`unexpected`)
   * @throws D2vError when a shape differs
   */
  loadStateDict(state: Map<string, StateValue> | Record<string, StateValue>): {
    missing: string[];
    unexpected: string[];
  } {
    const given = state instanceof Map ? state : new Map(Object.entries(state));
    const missing: string[] = [];
    const known = new Set<string>();
    for (const [name, p] of this.namedParameters()) {
      known.add(name);
      const value = given.get(name);
      if (value) copyInto(name, p, value);
      else missing.push(name);
    }
    return { missing, unexpected: [...given.keys()].filter((name) => !known.has(name)) };
  }
}

/** Children named 0, 1, 2, ... */
export class ModuleList<M extends Module = Module> extends Module {
  constructor(readonly items: M[]) {
    super();
    for (const [i, item] of items.entries()) this.declare(String(i), item);
  }
}

/** Children under names chosen at run time, e.g. one encoder per modality. */
export class ModuleDict<M extends Module = Module> extends Module {
  private readonly byName = new Map<string, M>();

  constructor(entries: Iterable<[string, M]> = []) {
    super();
    for (const [name, module] of entries) this.set(name, module);
  }

  set(name: string, module: M): M {
    this.byName.set(name, module);
    return this.declare(name, module);
  }

  get(name: string): M | undefined {
    return this.byName.get(name);
  }

  entries(): [string, M][] {
    return [...this.byName];
  }
}

function copyInto(name: string, p: Parameter, value: StateValue): void {
  const same = value.shape.length === p.shape.length && value.shape.every((d, i) => d === p.shape[i]);
  if (!same) {
    throw new D2vError(
      `'${name}' has shape [${p.shape.join(', ')}] in this model but [${value.shape.join(', ')}] in the file: the configurations differ.`,
    );
  }
  if ('data' in value) k.write_(p.raw, value.data);
  else k.copy_(p.raw, value);
}

/**
 * A copy of a module tree with other parameters: fields are copied one by one, modules and parameters in them (also in
 * arrays, maps and plain objects) are replaced by their copies, everything else is shared.
 */
export function cloneModule<M extends Module>(module: M, parameter: (p: Parameter) => Parameter): M {
  const done = new Map<object, unknown>();
  const copy = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    if (done.has(value)) return done.get(value);
    let result: unknown = value;
    if (value instanceof Parameter) {
      result = parameter(value);
      done.set(value, result);
    } else if (value instanceof Module) {
      const clone = Object.create(Object.getPrototypeOf(value)) as Module;
      done.set(value, clone);
      for (const [key, field] of Object.entries(value)) {
        Object.defineProperty(clone, key, {
          value: copy(field),
          enumerable: true,
          writable: true,
          configurable: true,
        });
      }
      result = clone;
    } else if (Array.isArray(value)) {
      const list: unknown[] = [];
      done.set(value, list);
      for (const item of value) list.push(copy(item));
      result = list;
    } else if (value instanceof Map) {
      const map = new Map();
      done.set(value, map);
      for (const [key, item] of value) map.set(key, copy(item));
      result = map;
    } else if (Object.getPrototypeOf(value) === Object.prototype) {
      const plain: Record<string, unknown> = {};
      done.set(value, plain);
      for (const [key, item] of Object.entries(value)) plain[key] = copy(item);
      result = plain;
    }
    return result;
  };
  return copy(module) as M;
}
