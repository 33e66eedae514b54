import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { RngStream } from '../random.js';
import { backward, noGrad, scope } from '../tensor/autograd.js';
import * as ops from '../tensor/ops.js';
import { type Tensor, tensor } from '../tensor/tensor.js';
import { expectClose } from '../testing/describe-op.js';
import { drawInput, gradcheck } from '../testing/gradcheck.js';
import { Nd } from '../testing/nd.js';
import * as reference from '../testing/reference.js';
import { ParameterArena } from './arena.js';
import { type BlockOptions, EncDecBlock, TransformerBlock } from './block.js';
import { DropPath } from './dropout.js';
import type { Module } from './module.js';

const evaluate = { training: false, rng: new RngStream(1, 0) };
const train = () => ({ training: true, rng: new RngStream(1, 1) });

/** Moves biases and norm weights away from where they start, so that nothing cancels. */
function unsettle(module: Module): void {
  for (const [name, p] of module.namedParameters()) {
    const { data } = drawInput(p.shape, name, 3);
    k.write_(
      p.raw,
      data.map((v) => 0.4 * v + (name.endsWith('norm1.weight') ? 1 : 0)),
    );
  }
}

const nd = (module: Module, name: string) => {
  const p = [...module.namedParameters()].find(([n]) => n === name)![1];
  return new Nd(p.shape, k.toArray(p.raw) as Float32Array);
};

const layer = (m: Module, name: string) => (x: Nd) =>
  reference.linear(x, nd(m, `${name}.weight`), nd(m, `${name}.bias`));
const norm = (m: Module, name: string) => (x: Nd) =>
  reference.layerNorm(x, 1e-5, nd(m, `${name}.weight`), nd(m, `${name}.bias`));
const mlp = (m: Module) => (x: Nd) => layer(m, 'mlp.fc2')(layer(m, 'mlp.fc1')(x).map(reference.gelu));
const self = (m: Module, width: number, heads: number) => (x: Nd) => {
  const qkv = layer(m, 'attn.qkv')(x);
  const part = (i: number) => reference.columns(qkv, i * width, width);
  return layer(m, 'attn.proj')(reference.attention(part(0), part(1), part(2), heads));
};

function withBlock(options: Partial<BlockOptions>, fn: (block: TransformerBlock) => void): void {
  const block = new TransformerBlock(8, { heads: 2, mlpRatio: 2, ...options });
  const arena = new ParameterArena(block, { seed: 1 });
  unsettle(block);
  try {
    scope(() => fn(block));
  } finally {
    arena.dispose();
  }
}

const host = drawInput([2, 5, 8], 'x', 1);
const x0 = new Nd(host.shape, host.data);

describe('TransformerBlock', () => {
  it('computes the post-norm block and its feed-forward result', () => {
    withBlock({}, (block) => {
      const y = noGrad(() => block.forward(tensor(host.data, host.shape), evaluate, {}, { ffn: true }));
      const h = norm(block, 'norm1')(reference.add(x0, self(block, 8, 2)(x0)));
      const f = mlp(block)(h);
      expectClose(y.ffn!.toArray() as Float32Array, f.data, 2e-5);
      expectClose(y.x.toArray() as Float32Array, norm(block, 'norm2')(reference.add(h, f)).data, 2e-5);
    });
  });

  it('computes the pre-norm block with the residual of the reference', () => {
    withBlock({ layerNormFirst: true }, (block) => {
      const y = noGrad(() => block.forward(tensor(host.data, host.shape), evaluate, {}, { ffn: true }));
      const h = reference.add(x0, self(block, 8, 2)(norm(block, 'norm1')(x0)));
      const f = mlp(block)(norm(block, 'norm2')(h));
      expectClose(y.ffn!.toArray() as Float32Array, f.data, 2e-5);
      expectClose(y.x.toArray() as Float32Array, reference.add(f, f).data, 2e-5);
    });
  });

  const variants: Record<string, Partial<BlockOptions>> = {
    'post-norm': {},
    'pre-norm': { layerNormFirst: true },
    'with every dropout, post-norm': {
      dropout: 0.1,
      attentionDropout: 0.1,
      mlpDropout: 0.1,
      postMlpDropout: 0.1,
      dropPath: 0.3,
    },
    'with every dropout, pre-norm': {
      layerNormFirst: true,
      dropout: 0.1,
      attentionDropout: 0.1,
      mlpDropout: 0.1,
      postMlpDropout: 0.1,
      dropPath: 0.3,
    },
    'without affine norms': { normAffine: false },
  };

  for (const [title, options] of Object.entries(variants)) {
    it(`has the right gradient to its input: ${title}`, () => {
      withBlock(options, (block) =>
        gradcheck(({ x }) => block.forward(x!, train()).x, { x: [2, 5, 8] }, { step: 0.02, tolerance: 5e-3 }),
      );
    });

    it(`has the right gradients to its parameters: ${title}`, () => {
      withBlock(options, (block) => {
        const x = tensor(host.data, host.shape);
        const direction = tensor(drawInput(host.shape, 'r', 1).data, host.shape);
        const loss = () => ops.sum(ops.mul(block.forward(x, train()).x, direction));
        backward(loss());
        for (const [name, p] of block.namedParameters()) {
          const grad = k.toArray(p.grad!) as Float32Array;
          const before = (k.toArray(p.raw) as Float32Array).slice();
          const length = Math.hypot(...grad) || 1;
          const at = (t: number) => {
            k.write_(
              p.raw,
              before.map((v, i) => v + (t * grad[i]!) / length),
            );
            return scope(() => noGrad(() => loss().item()));
          };
          const quotient = (t: number) => (at(t) - at(-t)) / (2 * t);
          const numeric = (4 * quotient(0.01) - quotient(0.02)) / 3;
          k.write_(p.raw, before);
          expect(Math.abs(numeric - length), `${name}: ${numeric} against ${length}`).toBeLessThan(
            2e-3 + 5e-3 * length,
          );
        }
      });
    });
  }

  it('leaves nothing behind', () => {
    withBlock({ dropout: 0.1, dropPath: 0.5 }, (block) => {
      const step = () =>
        scope(() => {
          const x = tensor(host.data, host.shape);
          const y = block.forward(x, train());
          const teacher = noGrad(() => block.forward(x, evaluate, {}, { ffn: true }));
          backward(ops.mean(ops.mul(y.x, teacher.ffn!)));
        });
      step();
      const before = k.memoryStats();
      for (let i = 0; i < 10; i++) step();
      expect(k.memoryStats().liveBuffers).toBe(before.liveBuffers);
      expect(k.memoryStats().current).toBe(before.current);
    });
  });
});

describe('EncDecBlock', () => {
  for (const firstResidual of [true, false]) {
    it(`attends to another sequence, ${firstResidual ? 'with' : 'without'} the first residual`, () => {
      const block = new EncDecBlock(8, 6, { heads: 2, mlpRatio: 2, firstResidual });
      const arena = new ParameterArena(block, { seed: 1 });
      unsettle(block);
      const kvHost = drawInput([2, 3, 6], 'kv', 1);
      scope(() => {
        const run = (q: Tensor, kv: Tensor) => block.forward(q, kv, evaluate);
        const y = noGrad(() => run(tensor(host.data, host.shape), tensor(kvHost.data, kvHost.shape)));
        const kv = layer(block, 'attn.kv_proj')(new Nd(kvHost.shape, kvHost.data));
        const mixed = reference.attention(
          layer(block, 'attn.q_proj')(x0),
          reference.columns(kv, 0, 8),
          reference.columns(kv, 8, 8),
          2,
        );
        const a = layer(block, 'attn.proj')(mixed);
        const h = norm(block, 'norm1')(firstResidual ? reference.add(x0, a) : a);
        const out = norm(block, 'norm2')(reference.add(h, mlp(block)(h)));
        expectClose(y.toArray() as Float32Array, out.data, 2e-5);
        gradcheck(
          ({ q, kv }) => run(q!, kv!),
          { q: [2, 5, 8], kv: [2, 3, 6] },
          { step: 0.02, tolerance: 5e-3 },
        );
      });
      arena.dispose();
    });
  }
});

describe('DropPath', () => {
  it('drops whole samples at its rate and keeps the mean', () => {
    scope(() => {
      const x = tensor(new Float32Array(4000).fill(1), [2000, 2]);
      const y = new DropPath(0.25).forward(x, train()).toArray() as Float32Array;
      let dropped = 0;
      for (let i = 0; i < 2000; i++) {
        expect(y[2 * i]).toBe(y[2 * i + 1]);
        if (y[2 * i] === 0) dropped++;
        else expect(y[2 * i]).toBeCloseTo(4 / 3, 6);
      }
      expect(Math.abs(dropped / 2000 - 0.25)).toBeLessThan(0.04);
      expect(new DropPath(0.25).forward(x, evaluate)).toBe(x);
    });
  });
});
