/**
 * Speed of the ops at the model's sizes, beside what this process can reach: `pnpm --filter @d2v/cuda-kernels bench [name]`.
 *
 * Compute-bound ops: GFLOP/s and the share of the fastest square product. Bandwidth-bound ops: GB/s, counting each operand
 * once, and the share of the speed of scaling a large tensor in
 * place. Small operands stay in the cache and exceed it.
 */
import * as k from '../src/index.js';
import { convGroups } from './conv.js';
import { KEY, type Row, random, time } from './harness.js';

function gemmRows(name: string, n: number, inner: number, m: number): Row[] {
  const [x, w, b, dy, dw, db] = [
    random(n, inner),
    random(m, inner),
    random(m),
    random(n, m),
    k.zeros([m, inner]),
    k.zeros([m]),
  ];
  const flops = 2 * n * inner * m;
  return [
    {
      name: `linear + gelu ${name}`,
      flops,
      run: () => k.linear(x, w, b, { activation: 'gelu', savePre: true }),
    },
    { name: `linearGradInput ${name}`, flops, run: () => k.linearGradInput(dy, w) },
    { name: `linearGradWeight ${name}`, flops, run: () => k.linearGradWeight_(dw, dy, x, db) },
  ];
}

function attentionRows(name: string, b: number, t: number, heads: number, d: number): Row[] {
  const qkv = random(b, t, 3 * d);
  const dout = random(b, t, d);
  const { out, lse } = k.attention(qkv, null, { heads });
  const flops = 4 * b * t * t * d;
  return [
    { name: `attention ${name}`, flops, run: () => k.attention(qkv, null, { heads }) },
    {
      name: `attentionBackward ${name}`,
      flops: 2.5 * flops,
      run: () => k.attentionBackward(dout, out, lse, qkv, null, { heads }),
    },
  ];
}

function bandwidthRows(): Row[] {
  const n = 20_000_000;
  const [p, g, m, v, teacher] = [random(n), random(n), k.zeros([n]), k.zeros([n]), random(n)];
  const adam = { lr: 1e-6, beta1: 0.9, beta2: 0.95, eps: 1e-8, step: 10 };
  const [rows, t, d] = [128, 64, 192];
  const x = random(rows, t, d);
  const stats = k.layerNorm(x, { eps: 1e-6 });
  const weight = random(d);
  const target = random(32, t, d);
  const layer = random(32, t, d);
  const masked = 51;
  const pred = random(rows, masked, d);
  const ids = k.fromArray(
    Int32Array.from({ length: rows * masked }, (_, i) => i % masked),
    [rows, masked],
  );
  const order = Int32Array.from({ length: rows * t }, (_, i) => (i * 7) % t);
  const restore = k.fromArray(order, [rows, t]);
  const keep = k.fromArray(
    Int32Array.from({ length: rows * 13 }, (_, i) => (i % 13) * 4),
    [rows, 13],
  );
  const kept = random(rows, 14, d);
  const size = 4 * x.size;
  return [
    {
      name: 'adam + teacher, 20 M',
      bytes: 36 * n,
      run: () => k.adam_(p, g, m, v, { ...adam, teacher, emaDecay: 0.999 }),
    },
    {
      name: 'adam + zero grad, 20 M',
      bytes: 32 * n,
      run: () => k.adam_(p, g, m, v, { ...adam, zeroGrad: true }),
    },
    { name: 'ema, 20 M', bytes: 12 * n, run: () => k.ema_(teacher, p, 0.999) },
    { name: 'sumSquares, 20 M', bytes: 4 * n, run: () => k.sumSquares(p) },
    { name: 'normal, 20 M', bytes: 4 * n, run: () => k.normal_(g, 0, 1, KEY) },
    {
      name: 'layerNorm + residual',
      bytes: 4 * size,
      run: () => k.layerNorm(x, { eps: 1e-6, residual: x, weight, bias: weight }),
    },
    {
      name: 'layerNormBackward',
      bytes: 3 * size,
      run: () => k.layerNormBackward(x, x, stats.mean, stats.rstd, { weight }),
    },
    { name: 'add', bytes: 3 * size, run: () => k.add(x, x) },
    { name: 'gelu', bytes: 2 * size, run: () => k.unary('gelu', x) },
    { name: 'dropout', bytes: 2 * size, run: () => k.dropout(x, 0.1, KEY) },
    {
      name: 'accumulateTarget instance',
      bytes: 3 * 4 * target.size,
      run: () => k.accumulateTarget_(target, layer, { norm: 'instance' }),
    },
    { name: 'maskedLoss', bytes: 3 * 4 * pred.size, run: () => k.maskedLoss(pred, target, ids) },
    { name: 'gatherTokens', bytes: 2 * 4 * rows * 13 * d, run: () => k.gatherTokens(target, keep) },
    {
      name: 'restoreTokens, drawn noise',
      bytes: 2 * size,
      run: () => k.restoreTokens(kept, restore, 1, { std: 0.01, key: KEY }),
    },
    {
      name: 'restoreTokensBackward',
      bytes: 8 * rows * 13 * d,
      run: () => k.restoreTokensBackward(x, restore, 1, 13),
    },
  ];
}

function main(filter: string | undefined): void {
  const { isa, threads, gemm } = k.deviceInfo();
  const peakTensor = random(1536, 1536);
  const peak = (2 * 1536 ** 3) / time(() => k.matmul(peakTensor, peakTensor, { transB: true }));
  const large = random(40_000_000);
  const stream = (8 * large.size) / time(() => k.scale_(large, 1.001));
  large.dispose();
  console.log(
    `${isa}, ${threads} threads, GEMM ${gemm}: ${(peak / 1e9).toFixed(0)} GFLOP/s, memory ${(stream / 1e9).toFixed(1)} GB/s`,
  );
  const groups: (() => Row[])[] = [
    () => gemmRows('1792 x 192 x 768', 1792, 192, 768),
    () => gemmRows('8192 x 192 x 192', 8192, 192, 192),
    () => gemmRows('640 x 768 x 3072', 640, 768, 3072),
    () => attentionRows('128 x 14, 3 heads of 64', 128, 14, 3, 192),
    () => attentionRows('2 x 197, 12 heads of 64', 2, 197, 12, 768),
    ...convGroups,
    bandwidthRows,
  ];
  for (const group of groups) {
    k.scope(() => {
      for (const { name, flops, bytes, run } of group()) {
        if (filter !== undefined && !name.includes(filter)) continue;
        const seconds = time(run);
        const [rate, unit, best] = flops
          ? [flops / seconds, 'GFLOP/s', peak]
          : [bytes! / seconds, 'GB/s', stream];
        console.log(
          `${name.padEnd(48)}${(seconds * 1e3).toFixed(3).padStart(9)} ms ${(rate / 1e9).toFixed(1).padStart(8)} ` +
            `${unit.padEnd(8)}${((100 * rate) / best).toFixed(0).padStart(5)} %`,
        );
      }
    });
  }
}

main(process.argv[2]);
