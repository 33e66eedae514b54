import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { gradients } from './gradients.js';
import { fusedGradients } from './gradients-fused.js';

/** A call that goes through each rule; the compiler asks for an entry when a rule is added. */
const calls = {
  add: 'ops.add',
  sub: 'ops.sub',
  mul: 'ops.mul',
  scale: 'ops.scale',
  unary: 'ops.gelu',
  cast: 'ops.cast',
  sum: 'ops.sum',
  meanTokens: 'ops.meanTokens',
  softmax: 'ops.softmax',
  logSoftmax: 'ops.logSoftmax',
  matmul: 'ops.matmul',
  reshape: 'ops.reshape',
  transpose: 'ops.transpose',
  slice: 'ops.slice',
  concat: 'ops.concat',
  repeatRows: 'ops.repeatRows',
  scaleRows: 'ops.scaleRows',
  dropout: 'ops.dropout',
  linear: 'ops.linear',
  mlp: 'ops.mlp',
  layerNorm: 'ops.layerNorm',
  attention: 'ops.attention',
  conv: 'ops.conv',
  patchify: 'ops.patchify',
  unpatchify: 'ops.unpatchify',
  gatherTokens: 'ops.gatherTokens',
  restoreTokens: 'ops.restoreTokens',
  embedding: 'ops.embedding',
  maskedLoss: 'ops.maskedLoss',
  crossEntropy: 'ops.crossEntropy',
} satisfies Record<keyof typeof gradients | keyof typeof fusedGradients, string>;

it('every rule of the tables is under a gradient check', () => {
  expect(Object.keys(calls).sort()).toEqual(
    [...Object.keys(gradients), ...Object.keys(fusedGradients)].sort(),
  );
  const tests = ['ops-basic', 'ops-fused', 'attention', 'conv', 'bf16']
    .map((name) => readFileSync(new URL(`./${name}.test.ts`, import.meta.url), 'utf8'))
    .join('\n');
  for (const call of Object.values(calls)) expect(tests, call).toContain(`${call}(`);
});
