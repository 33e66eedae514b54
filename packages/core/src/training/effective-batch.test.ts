import { expect, it } from 'vitest';
import type { RunConfig } from '../config/schema.js';
import { describeEffectiveBatch } from './effective-batch.js';

const config = (batchSize: number, updateFreq: number, maxUpdate: number | null, masks = 8) =>
  ({
    data: { batch_size: batchSize },
    optimization: { update_freq: updateFreq, max_update: maxUpdate },
    model: { clone_batch: masks },
  }) as RunConfig;

it('says what an update, an epoch and the run are made of', () => {
  expect(describeEffectiveBatch(config(16, 4, 1000), 6400)).toBe(
    'one update: 64 samples (16 x 4 accumulated) x 8 masks = 512 masked views; ' +
      'one epoch: 6400 samples = 100 updates; the run: 1000 updates = 10 epochs',
  );
  expect(describeEffectiveBatch(config(16, 1, null, 1), 100)).toBe(
    'one update: 16 samples x 1 mask = 16 masked views; one epoch: 100 samples = 6.25 updates',
  );
});
