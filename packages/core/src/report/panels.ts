/** Which curves share a picture, in reading order. Metrics whose names match none of these are left out. */
import type { Chart } from './chart.js';

export interface Panel extends Omit<Chart, 'series'> {
  keys: RegExp;
}

export const PANELS: readonly Panel[] = [
  {
    title: 'Loss',
    keys: /^loss$|^loss_/,
    note: 'Per masked token. It may rise again after the first drop: the teacher gets better, so its targets get harder.',
  },
  {
    title: 'Standard deviations',
    keys: /^target_var|^pred_var|^local_var/,
    note: 'Of targets, predictions and local features, averaged over dimensions. Collapse shows here: curves that fall towards zero and stay there.',
    fromZero: true,
  },
  {
    title: 'Gradient norm before clipping',
    keys: /^grad_norm$/,
    note: 'Spikes are clipped; a steady rise says that the learning rate is too high.',
    fromZero: true,
  },
  {
    title: 'Frozen features on held-out data',
    keys: /^(eval\/)?(knn|linear|probe)/,
    note: 'Accuracy of a nearest-neighbour vote or a linear classifier on features that had no labels in training.',
  },
  {
    title: 'Learning rate',
    keys: /^lr$/,
    note: 'Warm-up, then the schedule.',
    fromZero: true,
  },
  { title: 'EMA decay of the teacher', keys: /^ema_decay$/, note: 'Grows linearly to its final value.' },
];
