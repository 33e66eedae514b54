/** Convolutions at the models' sizes: forward, gradient to the input, gradient to the weight. */
import * as k from '../src/index.js';
import { type Row, random } from './harness.js';

interface Conv {
  name: string;
  /** Input [B, ...spatial, Cin]. */
  input: number[];
  /** Output channels. */
  cout: number;
  /** Per spatial dimension, as are the others. */
  kernel: number[];
  stride?: number[];
  /** Zeros that keep the length; else none. */
  same?: boolean;
  groups?: number;
  bias?: boolean;
}

const sequence = (
  name: string,
  input: [number, number, number],
  cout: number,
  kernel: number,
  more = {},
) => ({
  name,
  input,
  cout,
  kernel: [kernel],
  ...more,
});

const image = (name: string, input: number[]): Conv => ({
  name,
  input,
  cout: input[3]!,
  kernel: [3, 3],
  same: true,
  groups: 16,
  bias: true,
});

/** Clips of ten seconds at 16 kHz in the audio model; blocks of 512 tokens in the text model; patches of images. */
const CONVS: Conv[] = [
  image('image decoder 8 x 8, 192', [128, 8, 8, 192]),
  image('image decoder 14 x 14, 768', [16, 14, 14, 768]),
  sequence('audio features 1, k10 s5', [4, 160_000, 1], 512, 10, { stride: [5] }),
  sequence('audio features 2, k3 s2', [4, 31_999, 512], 512, 3, { stride: [2] }),
  sequence('audio features 3, k3 s2', [4, 15_999, 512], 512, 3, { stride: [2] }),
  sequence('audio features 5, k3 s2', [4, 3999, 512], 512, 3, { stride: [2] }),
  sequence('audio features 7, k2 s2', [4, 999, 512], 512, 2, { stride: [2] }),
  sequence('audio positions 768, k19', [16, 499, 768], 768, 19, { same: true, groups: 16, bias: true }),
  sequence('audio decoder 768 > 384, k7', [32, 499, 768], 384, 7, { same: true, groups: 16, bias: true }),
  sequence('audio decoder 384, k7', [32, 499, 384], 384, 7, { same: true, groups: 16, bias: true }),
  sequence('text decoder 768, k9', [8, 512, 768], 768, 9, { same: true, bias: true }),
];

function rowsOf(c: Conv): Row[] {
  const { input, cout, kernel, groups = 1 } = c;
  const cin = input.at(-1)!;
  const stride = c.stride ?? kernel.map(() => 1);
  const padding = kernel.map((size): [number, number] => (c.same ? [size >> 1, (size - 1) >> 1] : [0, 0]));
  const options: k.ConvOptions = { stride, padding, groups };
  const x = random(...input);
  const weight = random(cout, cin / groups, ...kernel);
  const bias = c.bias ? random(cout) : null;
  const outputs = kernel.map(
    (size, i) => Math.floor((input[1 + i]! + padding[i]![0] + padding[i]![1] - size) / stride[i]!) + 1,
  );
  const dy = random(input[0]!, ...outputs, cout);
  const dw = k.zeros([cout, cin / groups, ...kernel]);
  const db = c.bias ? k.zeros([cout]) : null;
  const taps = kernel.reduce((product, size) => product * size, 1);
  const flops = (2 * dy.size * cin * taps) / groups;
  const rows: Row[] = [
    { name: `conv ${c.name}`, flops, run: () => k.conv(x, weight, bias, options) },
    { name: `convGradWeight ${c.name}`, flops, run: () => k.convGradWeight_(dw, dy, x, db, options) },
  ];
  // Samples of sound have no gradient.
  if (cin > 1)
    rows.push({
      name: `convGradInput ${c.name}`,
      flops,
      run: () => k.convGradInput(dy, weight, input, options),
    });
  return rows;
}

export const convGroups: (() => Row[])[] = CONVS.map((c) => () => rowsOf(c));
