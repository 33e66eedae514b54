import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { RngStream } from '../random.js';
import { backward, noGrad, scope } from '../tensor/autograd.js';
import * as ops from '../tensor/ops.js';
import type { Parameter } from '../tensor/parameter.js';
import { tensor } from '../tensor/tensor.js';
import { ParameterArena } from './arena.js';
import { TransformerBlock } from './block.js';
import { Conv2d } from './conv.js';
import { Embedding } from './embedding.js';
import * as init from './init.js';
import { Linear } from './linear.js';
import { Module, ModuleDict } from './module.js';

class Decoder extends Module {
  readonly conv: Conv2d;
  readonly proj: Linear;
  constructor() {
    super();
    const layer = new ModuleDict([['0', new Conv2d(8, 8, { kernel: 3, padding: 'same', groups: 2 })]]);
    this.list('blocks', [layer]);
    this.conv = layer.get('0')!;
    this.proj = this.child('proj', new Linear(8, 8, { init: 'default' }));
  }
}

class Encoder extends Module {
  readonly decoder: Decoder;
  readonly extra: Parameter;
  readonly positions: Parameter;
  constructor() {
    super();
    this.decoder = this.child('decoder', new Decoder());
    this.extra = this.param('extra_tokens', [1, 1, 8], { init: init.normal(1) });
    this.positions = this.buffer(
      'positions',
      [1, 4, 8],
      init.values(() => new Float32Array(32).fill(0.5)),
    );
  }
}

class Model extends Module {
  readonly encoders = new ModuleDict<Encoder>([['IMAGE', new Encoder()]]);
  readonly blocks: TransformerBlock[];
  constructor() {
    super();
    this.child('modality_encoders', this.encoders);
    this.blocks = this.list('blocks', [new TransformerBlock(8, { heads: 2 })]);
  }
}

const averaged = (name: string) => !name.includes('decoder');
const values = (t: k.RawTensor) => k.toArray(t) as Float32Array;

describe('Module', () => {
  it('names everything as in the state dictionary, own parameters first', () => {
    const names = [...new Model().namedParameters()].map(([name]) => name);
    expect(names).toEqual([
      'modality_encoders.IMAGE.extra_tokens',
      'modality_encoders.IMAGE.positions',
      'modality_encoders.IMAGE.decoder.blocks.0.0.weight',
      'modality_encoders.IMAGE.decoder.blocks.0.0.bias',
      'modality_encoders.IMAGE.decoder.proj.weight',
      'modality_encoders.IMAGE.decoder.proj.bias',
      ...['norm1.weight', 'norm1.bias', 'attn.qkv.weight', 'attn.qkv.bias', 'attn.proj.weight'].map(
        (n) => `blocks.0.${n}`,
      ),
      ...['attn.proj.bias', 'norm2.weight', 'norm2.bias', 'mlp.fc1.weight', 'mlp.fc1.bias'].map(
        (n) => `blocks.0.${n}`,
      ),
      ...['mlp.fc2.weight', 'mlp.fc2.bias'].map((n) => `blocks.0.${n}`),
    ]);
  });

  it('says which parameter has no storage yet, and refuses one name twice', () => {
    expect(() => new Linear(2, 3).weight.raw).toThrow(/\[3, 2\] has no storage: build a ParameterArena/);
    const dict = new ModuleDict([['a', new Linear(1, 1)]]);
    expect(() => dict.set('a', new Linear(1, 1))).toThrow(/declares 'a' twice/);
  });

  it('saves and loads by name and reports what did not fit', () => {
    const a = new Model();
    const b = new Model();
    const arenaA = new ParameterArena(a, { seed: 1 });
    const arenaB = new ParameterArena(b, { seed: 2 });
    const state = new Map<string, k.RawTensor | { data: Float32Array; shape: number[] }>(a.stateDict());
    state.delete('blocks.0.norm1.bias');
    state.set('blocks.0.attn.proj.bias', { data: new Float32Array(8).fill(7), shape: [8] });
    state.set('other', { data: new Float32Array(1), shape: [1] });
    expect(b.loadStateDict(state)).toEqual({ missing: ['blocks.0.norm1.bias'], unexpected: ['other'] });
    const qkv = 'blocks.0.attn.qkv.weight';
    expect(values(b.stateDict().get(qkv)!)).toEqual(values(a.stateDict().get(qkv)!));
    expect(values(b.blocks[0]!.attn.proj.bias!.raw)[3]).toBe(7);
    expect(() => b.loadStateDict({ [qkv]: { data: new Float32Array(2), shape: [2] } })).toThrow(
      /'blocks.0.attn.qkv.weight' has shape \[24, 8\] in this model but \[2\] in the file/,
    );
    arenaA.dispose();
    arenaB.dispose();
  });
});

describe('ParameterArena', () => {
  it('lays parameters out in ranges by averaging, decay and group', () => {
    const model = new Model();
    const group = (name: string) => (name.includes('decoder') ? 'decoder' : 'default');
    const arena = new ParameterArena(model, { seed: 1, averaged, group });
    expect(arena.ranges.map((r) => [r.averaged, r.decay, r.group])).toEqual([
      [true, true, 'default'],
      [true, false, 'default'],
      [false, true, 'decoder'],
      [false, false, 'decoder'],
    ]);
    let end = 0;
    for (const r of arena.ranges) {
      expect(r.start).toBe(end);
      end += r.length;
      for (const e of arena.entries.values()) {
        const inside = e.offset >= r.start && e.offset + e.size <= r.start + r.length;
        expect(inside).toBe(e.averaged === r.averaged && e.decay === r.decay && e.group === r.group);
      }
    }
    expect(end).toBe(arena.length);
    expect(arena.averagedLength).toBe(arena.ranges[2]!.start);
    const noDecay = [...arena.entries.values()].filter((e) => !e.decay).map((e) => e.name);
    expect(noDecay.every((n) => n.endsWith('.bias') || n.includes('norm'))).toBe(true);
    expect(arena.entries.has('modality_encoders.IMAGE.positions')).toBe(false);
    arena.dispose();
    const all = new ParameterArena(new Model(), { seed: 1, decayAll: true });
    expect(all.ranges.map((r) => [r.averaged, r.decay])).toEqual([[false, true]]);
    all.dispose();
  });

  it('starts parameters by seed and name, whatever else there is', () => {
    const model = new Model();
    const arena = new ParameterArena(model, { seed: 3 });
    class Less extends Module {
      readonly blocks = this.list('blocks', [new TransformerBlock(8, { heads: 2 })]);
    }
    const less = new Less();
    const other = new ParameterArena(less, { seed: 3 });
    const name = 'blocks.0.mlp.fc1.weight';
    expect(values(less.stateDict().get(name)!)).toEqual(values(model.stateDict().get(name)!));
    const w = values(model.stateDict().get(name)!);
    const std = Math.sqrt(w.reduce((s, v) => s + v * v, 0) / w.length);
    expect(std).toBeGreaterThan(0.015);
    expect(std).toBeLessThan(0.025);
    expect([...values(model.blocks[0]!.norm1.weight!.raw)]).toEqual(Array(8).fill(1));
    expect(values(model.encoders.get('IMAGE')!.positions.raw)[5]).toBe(0.5);
    arena.dispose();
    other.dispose();
  });

  it('binds a teacher: a copy of the weights that follows only when told', () => {
    const model = new Model();
    const arena = new ParameterArena(model, { seed: 1, averaged });
    const teacher = arena.bindTeacher(model);
    expect(teacher).toBeInstanceOf(Model);
    expect(teacher.blocks[0]).not.toBe(model.blocks[0]);
    expect(teacher.blocks[0]!.attn.qkv).toBeInstanceOf(Linear);
    expect([...teacher.namedParameters()].map(([n]) => n)).toEqual(
      [...model.namedParameters()].map(([n]) => n),
    );
    expect(teacher.encoders.get('IMAGE')!.extra).toBe(
      teacher.parameters().find((p) => p.name.endsWith('extra_tokens')),
    );
    const student = model.blocks[0]!.attn.qkv.weight;
    const average = teacher.blocks[0]!.attn.qkv.weight;
    expect(average.requiresGrad).toBe(false);
    expect(student.requiresGrad).toBe(true);
    expect(values(average.raw)).toEqual(values(student.raw));
    k.fill_(student.raw, 5);
    expect(values(average.raw)[0]).not.toBe(5);
    arena.resetTeacher();
    expect(values(average.raw)[0]).toBe(5);
    const proj = (m: Model) => m.encoders.get('IMAGE')!.decoder.proj.weight;
    k.fill_(proj(model).raw, 4);
    expect(values(proj(teacher).raw)[0]).toBe(4);
    expect([...arena.named('teacher').keys()].some((n) => n.includes('decoder'))).toBe(false);
    arena.dispose();
  });

  it('keeps bf16 copies for bf16 activations', () => {
    const model = new Model();
    const arena = new ParameterArena(model, { seed: 1, averaged, dtype: 'bf16' });
    const ctx = { training: false, rng: new RngStream(1, 0) };
    scope(() => {
      const x = tensor(
        Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
        [1, 3, 8],
        { dtype: 'bf16' },
      );
      const teacher = arena.bindTeacher(model);
      const block = (m: Model) => noGrad(() => m.blocks[0]!.forward(x, ctx).x);
      expect(block(model).dtype).toBe('bf16');
      expect(block(teacher).toArray()).toEqual(block(model).toArray());
      const w = model.blocks[0]!.mlp.fc1.weight;
      expect(w.valueFor('bf16').dtype).toBe('bf16');
      expect(w.valueFor('f32').dtype).toBe('f32');
      k.fill_(w.raw, 0.5);
      expect(values(k.cast(w.valueFor('bf16'), 'f32'))[0]).not.toBe(0.5);
      arena.refresh();
      expect(values(k.cast(w.valueFor('bf16'), 'f32'))[0]).toBe(0.5);
    });
    arena.dispose();
  });

  it('gives nothing a gradient when built for inference', () => {
    const model = new Model();
    const arena = new ParameterArena(model, { seed: 1, training: false });
    expect(model.parameters().some((p) => p.requiresGrad)).toBe(false);
    expect(() => arena.gradNorm()).toThrow(/built for inference/);
    arena.dispose();
  });

  it('takes a module with nothing to train', () => {
    class Fixed extends Module {
      readonly table = this.buffer('table', [2], init.constant(3));
    }
    const fixed = new Fixed();
    const arena = new ParameterArena(fixed, { seed: 1 });
    arena.resetTeacher();
    expect([...values(arena.bindTeacher(fixed).table.raw)]).toEqual([3, 3]);
    expect(arena.gradNorm()).toBe(0);
    expect(arena.ranges).toEqual([]);
    arena.dispose();
  });

  it('gives its memory back', () => {
    const before = k.memoryStats().liveBuffers;
    const arena = new ParameterArena(new Model(), { seed: 1, averaged });
    arena.buffer('m');
    arena.buffer('teacher');
    arena.dispose();
    expect(k.memoryStats().liveBuffers).toBe(before);
  });
});

describe('Embedding', () => {
  it('starts with a padding row of zeros that gets no gradient', () => {
    const table = new Embedding(5, 3, { padding: 1 });
    const arena = new ParameterArena(table, { seed: 1 });
    expect([...values(table.weight.raw)].slice(3, 6)).toEqual([0, 0, 0]);
    expect([...values(table.weight.raw)].slice(0, 3).every((v) => v !== 0)).toBe(true);
    scope(() => {
      const ids = k.fromArray(Int32Array.of(1, 2, 1, 0), [2, 2], { dtype: 'i32' });
      backward(ops.sum(table.forward(ids)));
    });
    expect([...values(table.weight.grad!)]).toEqual([1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
    arena.dispose();
  });
});
