/** Intermediate values of the first forward pass, and what is computed from them. */
import { type AttentionInput, type MaskInfo, type Probe, raw } from '@d2v/core';
import type { Fixture } from './fixture.js';
import { activationLimits, EXACT } from './limits.js';
import type { Comparison } from './report.js';

/** Every intermediate tensor a fixture may have, besides the teacher's layers. */
const KNOWN = [
  'local_features',
  'encoder_in',
  'encoder_out',
  'decoder_in',
  'decoder_out',
  'teacher_in',
  'teacher_out',
  'targets',
];

/** Compares intermediate values with the fixture's as they are computed. */
export class Activations implements Probe {
  constructor(
    private readonly fixture: Fixture,
    private readonly comparison: Comparison,
  ) {}

  tensor(name: string, value: raw.RawTensor): void {
    const key = `mid/${name}`;
    if (!this.fixture.has(key)) return;
    const theirs = this.fixture.float(key);
    this.comparison.array(key, raw.toArray(value) as Float32Array, theirs, activationLimits(theirs));
  }

  /** Which tokens are kept, and where they go back to. */
  places({ keep, restore }: MaskInfo): void {
    for (const [name, ours] of [
      ['mid/ids_keep', keep],
      ['mid/ids_restore', restore],
    ] as const) {
      if (this.fixture.has(name)) this.comparison.array(name, ours, this.fixture.raw(name), EXACT);
      else this.comparison.skip(name);
    }
  }

  attention(_name: string, input: AttentionInput): void {
    const { fixture, comparison } = this;
    const mask = input.at(0);
    if (fixture.has('mid/encoder_padding_mask')) {
      const theirs = fixture.float('mid/encoder_padding_mask');
      const ours = mask.keyPadding
        ? (raw.toArray(mask.keyPadding) as Uint8Array)
        : new Uint8Array(theirs.length);
      comparison.array('mid/encoder_padding_mask', ours, theirs, EXACT);
    }
    if (fixture.has('mid/alibi_bias_row0')) {
      const theirs = fixture.float('mid/alibi_bias_row0');
      const [heads] = fixture.shape('mid/alibi_bias_row0');
      comparison.array(
        'mid/alibi_bias_row0',
        biasOfFirstRow(input, heads!),
        theirs,
        activationLimits(theirs),
      );
    }
  }

  /** Says what the fixture does not have. */
  finish(): void {
    for (const name of KNOWN) if (!this.fixture.has(`mid/${name}`)) this.comparison.skip(`mid/${name}`);
  }
}

/** The bias matrix [heads, tokens, tokens] that the kernels compute on the fly, for the first row. */
function biasOfFirstRow(input: AttentionInput, heads: number): Float32Array {
  const { alibi, bias } = input.at(0);
  if (bias) {
    const all = raw.toArray(bias.raw) as Float32Array;
    return all.slice(0, heads * bias.shape.at(-1)! ** 2);
  }
  if (!alibi) return new Float32Array(0);
  const slopes = raw.toArray(alibi.slopes.raw) as Float32Array;
  const [, tokens, dims] = alibi.positionsQ.shape as [number, number, number];
  const positions = raw.toArray(alibi.positionsQ) as Int32Array;
  const out = new Float32Array(heads * tokens * tokens);
  for (let h = 0; h < heads; h++) {
    for (let q = 0; q < tokens; q++) {
      for (let k = 0; k < tokens; k++) {
        if (positions[q * dims]! < 0 || positions[k * dims]! < 0) continue;
        let sum = 0;
        for (let d = 0; d < dims; d++) {
          const difference = Math.abs(positions[q * dims + d]! - positions[k * dims + d]!);
          sum += alibi.euclidean ? difference ** 2 : difference;
        }
        out[(h * tokens + q) * tokens + k] = -slopes[h]! * (alibi.euclidean ? Math.sqrt(sum) : sum);
      }
    }
  }
  return out;
}
