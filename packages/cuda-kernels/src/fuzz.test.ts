/**
 * The whole surface under random arguments: every call gives a result or an Error, never a crash, and leaks nothing.
 *
 * Two kinds: anything at all in any place, and calls that are right but for one argument or option. Numbers are small or
 * absurd, never merely large: a tensor of a few gigabytes would be a correct answer.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as k from './index.js';
import { RawTensor } from './index.js';

const SKIPPED = new Set([
  ...['RawTensor', 'scope', 'keep', 'NativeLoadError', 'ABI', 'profile', 'setThreads'],
  'recorded', // takes a function
  'cudaGemmLibrary', // takes nothing, and fails where there is none
]);
type Call = (...args: unknown[]) => unknown;
const OPS = (Object.entries(k) as [string, unknown][]).filter(
  (entry): entry is [string, Call] => !SKIPPED.has(entry[0]) && typeof entry[1] === 'function',
);

const DTYPES: k.DType[] = ['f32', 'bf16', 'f16', 'i32', 'i64', 'u8', 'f64'];
const WORDS = [
  ...[
    'f32',
    'bf16',
    'i32',
    'u8',
    'cpu',
    'cuda:0',
    '',
    'gelu',
    'none',
    'layer',
    'instance',
    'batch',
    'cpq',
    'pqc',
  ],
  ...['log', 'sqrt', '__proto__', 'x'.repeat(100), '\0', '\ud800'],
];
const NUMBERS = [0, -0, 1, 2, 3, 4, 8, -1, -8, 0.5, 1e-5, 7.5, 100, Number.NaN, Number.POSITIVE_INFINITY];
const ABSURD = [Number.NEGATIVE_INFINITY, 2 ** 40, -(2 ** 40), 2 ** 53, 2 ** 63, 1e300, -1e300, 5e-324];
const OPTION_NAMES = [
  ...['activation', 'savePre', 'geluPre', 'accumulate', 'transA', 'transB', 'alpha', 'weight', 'bias', 'eps'],
  ...[
    'residual',
    'after',
    'dWeight',
    'dBias',
    'heads',
    'scale',
    'keyPadding',
    'alibi',
    'dropout',
    'key',
    'stride',
  ],
  ...[
    'padding',
    'groups',
    'std',
    'skip',
    'norm',
    'beta',
    'gradScale',
    'smoothing',
    'ignore',
    'lr',
    'beta1',
    'beta2',
  ],
  ...['weightDecay', 'step', 'zeroGrad', 'teacher', 'emaDecay', 'dtype', 'device', 'slopes', 'positionsQ'],
  ...['positionsK', 'euclidean', 'control', 'clipNorm', 'seed', 'update', 'stream', 'unknown'],
];

const dims = fc.array(fc.constantFrom(1, 1, 2, 3, 4, 6, 8), { maxLength: 4 });

/** Descriptions of values; `build` makes them, so that shrinking and repeating work on plain data. */
type Described =
  | { kind: 'plain'; value: unknown }
  | { kind: 'tensor'; shape: number[]; dtype: k.DType; value: number; disposed: boolean; view: boolean }
  | { kind: 'array'; type: number; length: number }
  | { kind: 'list'; items: Described[] }
  | { kind: 'object'; entries: [string, Described][] }
  | { kind: 'odd'; index: number };

const plain = fc.oneof(
  fc.constantFrom<unknown>(undefined, null, true, false, 1n, Symbol('s'), () => 1),
  fc.constantFrom<unknown>(...NUMBERS),
  fc.constantFrom<unknown>(...ABSURD),
  fc.constantFrom<unknown>(...WORDS),
);
const tensor = fc.record({
  kind: fc.constant('tensor' as const),
  shape: dims,
  dtype: fc.constantFrom(...DTYPES, 'f32' as const, 'f32' as const, 'i32' as const),
  value: fc.constantFrom(0, 1, 2, 3, -1, 1e9, Number.NaN),
  disposed: fc.integer({ min: 0, max: 19 }).map((n) => n === 0),
  view: fc.boolean(),
});

const described = fc.letrec<{ any: Described }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    { weight: 5, arbitrary: tensor },
    { weight: 3, arbitrary: plain.map((value) => ({ kind: 'plain' as const, value })) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('array' as const),
        type: fc.integer({ min: 0, max: 10 }),
        length: fc.integer({ min: 0, max: 12 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('odd' as const), index: fc.integer({ min: 0, max: 7 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('list' as const),
        items: fc.array(tie('any'), { maxLength: 5 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('list' as const),
        items: dims.map((shape) => shape.map((value) => ({ kind: 'plain' as const, value }))),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('object' as const),
        entries: fc.array(fc.tuple(fc.constantFrom(...OPTION_NAMES), tie('any')), { maxLength: 6 }),
      }),
    },
  ),
}));

const ARRAYS = [
  ...[Float32Array, Float64Array, Int32Array, BigInt64Array, Uint8Array, Uint8ClampedArray, Uint16Array],
  ...[Int8Array, Int16Array, Uint32Array, BigUint64Array],
];

function odd(index: number): unknown {
  const detached = new Float32Array(4);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  return [
    detached,
    new Proxy(
      {},
      {
        get: () => 2,
        ownKeys: () => {
          throw new Error('no keys');
        },
      },
    ),
    new Proxy([1, 2], {}),
    Object.create(RawTensor.prototype),
    new DataView(new ArrayBuffer(4)),
    new Date(0),
    {
      get eps(): number {
        throw new Error('no eps');
      },
      length: 2,
      0: 1,
    },
    new Float32Array(new SharedArrayBuffer(16)),
  ][index];
}

function build(d: Described): unknown {
  if (d.kind === 'plain') return d.value;
  if (d.kind === 'odd') return odd(d.index);
  if (d.kind === 'list') return d.items.map(build);
  if (d.kind === 'object') return Object.fromEntries(d.entries.map(([name, value]) => [name, build(value)]));
  if (d.kind === 'array') return new (ARRAYS[d.type] as Float32ArrayConstructor)(d.length);
  let t = k.full(d.view ? [3, ...d.shape] : d.shape, d.value, d.dtype);
  if (d.view) t = t.view(t.size / 3, d.shape);
  if (d.disposed) t.dispose();
  return t;
}

/** True if the call gave a result. Anything thrown must be an Error. */
function attempt(call: () => unknown): boolean {
  return k.scope(() => {
    try {
      call();
      return true;
    } catch (error) {
      if (!(error instanceof Error)) throw new Error(`threw ${String(error)}`);
      return false;
    }
  });
}

const RUNS = Number(process.env.D2V_FUZZ_RUNS ?? 150);

describe('anything in any place', () => {
  test.each(OPS)('%s', (_name, call) => {
    const before = k.memoryStats().liveBuffers;
    fc.assert(
      fc.property(fc.array(described.any, { maxLength: 6 }), (args) => {
        attempt(() => call(...args.map(build)));
      }),
      { numRuns: RUNS },
    );
    expect(k.memoryStats().liveBuffers).toBe(before);
  });

  test('methods of a tensor', () => {
    fc.assert(
      fc.property(
        tensor,
        fc.constantFrom('view', 'reshape', 'dispose'),
        fc.array(described.any, { maxLength: 3 }),
        (t, name, args) => {
          attempt(() => (build(t) as unknown as Record<string, Call>)[name]!(...args.map(build)));
        },
      ),
      { numRuns: 4 * RUNS },
    );
  });
});

const KEY = { seed: 1, update: 2, stream: 3 };
const T = (...shape: number[]): k.RawTensor => k.full(shape, 1);
const I = (...shape: number[]): k.RawTensor => k.zeros(shape, 'i32');
const ALIBI = (): unknown => ({
  slopes: T(2),
  positionsQ: I(2, 3, 1),
  positionsK: I(2, 3, 1),
  euclidean: true,
});
const ATTENTION = (): unknown => ({
  ...{ heads: 2, scale: 0.5, keyPadding: k.zeros([2, 3], 'u8'), alibi: ALIBI(), bias: T(2, 3, 3) },
  ...{ dropout: 0.1, key: KEY },
});
const CONV = {
  stride: [1, 2],
  padding: [
    [1, 1],
    [0, 1],
  ],
  groups: 2,
};

/** One right call of every op. */
const RIGHT: Record<string, () => unknown[]> = {
  empty: () => [[2, 3], 'f32', 'cpu'],
  zeros: () => [[2, 3], 'bf16', 'cpu'],
  full: () => [[2, 3], 1, 'u8', 'cpu'],
  fromArray: () => [new Float32Array(6), [2, 3], { dtype: 'bf16', device: 'cpu' }],
  toArray: () => [T(2)],
  item: () => [T(1)],
  readLater: () => [[T(2), I(3)]],
  copy_: () => [T(2, 3), T(2, 3)],
  cast: () => [T(2), 'f16'],
  fill_: () => [T(2), 1],
  write_: () => [T(3), new Float64Array(3)],
  bytes: () => [T(3)],
  writeBytes_: () => [T(1), new Uint8Array(4)],
  normal_: () => [T(5), 0, 1, KEY],
  uniform_: () => [T(5), 0, 1, KEY],
  linear: () => [T(2, 3, 4), T(5, 4), T(5), { activation: 'gelu', savePre: true }],
  linearGradInput: () => [T(2, 3, 5), T(5, 4), { geluPre: T(2, 3, 4), accumulate: T(2, 3, 4) }],
  linearGradWeight_: () => [T(5, 4), T(6, 5), T(2, 3, 4), T(5)],
  matmul: () => [T(2, 3, 4), T(2, 4, 5), { transA: false, transB: false, alpha: 1 }],
  layerNorm: () => [
    T(2, 3, 4),
    { weight: T(4), bias: T(4), eps: 1e-5, residual: T(2, 3, 4), activation: 'gelu', after: T(2, 3, 4) },
  ],
  layerNormBackward: () => [
    ...[T(2, 3, 4), T(2, 3, 4), T(6), T(6)],
    { weight: T(4), bias: T(4), activation: 'gelu', dWeight: T(4), dBias: T(4) },
  ],
  attention: () => [T(2, 3, 24), null, ATTENTION()],
  attentionBackward: () => [T(2, 3, 8), T(2, 3, 8), T(2, 2, 3), T(2, 3, 8), T(2, 3, 16), ATTENTION()],
  conv: () => [T(2, 5, 6, 4), T(6, 2, 3, 3), T(6), CONV],
  convGradInput: () => [T(2, 5, 3, 6), T(6, 2, 3, 3), [2, 5, 6, 4], CONV],
  convGradWeight_: () => [T(6, 2, 3, 3), T(2, 5, 3, 6), T(2, 5, 6, 4), T(6), CONV],
  patchify: () => [T(2, 3, 4, 6), [2, 3], 'cpq'],
  unpatchify: () => [T(2, 4, 18), [3, 4, 6], [2, 3], 'pqc'],
  gatherTokens: () => [T(2, 5, 4), I(4, 3), T(1, 4)],
  gatherTokensBackward: () => [T(4, 4, 4), I(4, 3), [2, 5, 4], T(1, 4)],
  restoreTokens: () => [T(4, 3, 4), I(4, 5), 1, { std: 0.1, key: KEY }],
  restoreTokensBackward: () => [T(4, 5, 4), I(4, 5), 1, 2],
  repeatRows: () => [T(2, 3), 3],
  repeatRowsBackward: () => [T(6, 3), 3],
  slice: () => [T(2, 5), 1, 1, 2],
  sliceBackward: () => [T(2, 2), [2, 5], 1, 1],
  concat: () => [[T(2, 2), T(2, 3)], 1],
  transpose: () => [T(2, 3, 4), [2, 0, 1]],
  embedding: () => [I(2, 3), T(5, 4)],
  embeddingGrad_: () => [T(5, 4), I(2, 3), T(2, 3, 4), 1],
  accumulateTarget_: () => [T(2, 3, 4), T(2, 4, 4), { skip: 1, norm: 'instance', scale: 0.5, eps: 1e-5 }],
  instanceNorm: () => [T(2, 3, 4), 1e-5],
  maskedLoss: () => [T(4, 2, 4), T(2, 3, 4), I(4, 2), { beta: 0.1, scale: 1, gradScale: 1 }],
  featureStd: () => [T(2, 3, 4), I(4, 2)],
  crossEntropy: () => [T(3, 4), I(3), { smoothing: 0.1, ignore: -1, gradScale: 1 }],
  add: () => [T(2, 3), T(3)],
  sub: () => [T(2, 3), T(1)],
  mul: () => [T(2, 3), T(2, 3)],
  scale: () => [T(2), 2],
  scale_: () => [T(2), 2],
  axpy_: () => [T(2), 2, T(2)],
  scaleRows: () => [T(2, 3), T(2)],
  unary: () => ['gelu', T(3)],
  unaryBackward: () => ['tanh', T(3), T(3), T(3)],
  dropout: () => [T(5), 0.5, KEY],
  softmax: () => [T(2, 3)],
  softmaxBackward: () => [T(2, 3), T(2, 3)],
  logSoftmax: () => [T(2, 3)],
  sumTo: () => [T(2, 3), [3]],
  sum: () => [T(2)],
  sumSquares: () => [T(2)],
  meanTokens: () => [T(2, 3, 4), 1],
  meanTokensBackward: () => [T(2, 4), [2, 3, 4], 1],
  gradControl: () => [k.sumSquares(T(4)), k.sum(T(4)), { gradScale: 0.5, clipNorm: 1 }],
  adam_: () => [
    ...[T(4), T(4), T(4), T(4)],
    {
      ...{
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weightDecay: 0.1,
        step: 1,
        gradScale: 1,
        zeroGrad: true,
      },
      ...{ teacher: T(4), emaDecay: 0.9, control: k.gradControl(k.sum(T(4))) },
    },
  ],
  ema_: () => [T(4), T(4), 0.9, k.gradControl(k.sum(T(4)))],
  deviceInfo: () => ['cpu'],
  setTf32: () => ['cpu', true],
  gemmReport: () => ['cpu'],
  asynchronous: () => ['cpu'],
  memoryStats: () => ['cpu'],
  resetPeakMemory: () => ['cpu'],
  emptyCache: () => ['cpu'],
  synchronize: () => ['cpu'],
  graphStats: () => ['cpu'],
};

/** Replaces one place, at any depth, of plain arrays and objects. */
function mutate(value: unknown, path: number[], replacement: unknown): unknown {
  if (path.length === 0 || typeof value !== 'object' || value === null || value instanceof RawTensor)
    return replacement;
  if (ArrayBuffer.isView(value)) return replacement;
  const keys = Object.keys(value);
  if (keys.length === 0) return replacement;
  const key = keys[path[0]! % keys.length]!;
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  copy[key] = mutate(copy[key], path.slice(1), replacement);
  return copy;
}

describe('right but for one thing', () => {
  test('there is a right call of every op', () => {
    expect(OPS.map(([name]) => name).filter((name) => !(name in RIGHT))).toEqual([]);
    for (const [name, call] of OPS) {
      expect(
        attempt(() => call(...RIGHT[name]!())),
        name,
      ).toBe(true);
      const half = (a: unknown): unknown =>
        a instanceof RawTensor && a.dtype === 'f32' ? k.cast(a, 'bf16') : a;
      attempt(() => call(...RIGHT[name]!().map(half)));
    }
  });

  test.each(OPS)('%s', (name, call) => {
    const before = k.memoryStats().liveBuffers;
    fc.assert(
      fc.property(
        fc.array(fc.nat(20), { minLength: 1, maxLength: 4 }),
        described.any,
        (path, replacement) => {
          attempt(() => call(...(mutate(RIGHT[name]!(), path, build(replacement)) as unknown[])));
        },
      ),
      { numRuns: 2 * RUNS },
    );
    expect(k.memoryStats().liveBuffers).toBe(before);
  });
});
