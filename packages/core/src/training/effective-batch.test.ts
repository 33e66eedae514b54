import { expect, it } from 'vitest';
import type { RunConfig } from '../config/schema.js';
import { describeEffectiveBatch } from './effective-batch.js';

const config = (
  batchSize: number | null,
  updateFreq: number,
  maxUpdate: number | null,
  masks = 8,
  batchLength: number | null = null,
) =>
  ({
    data: { batch_size: batchSize, batch_length: batchLength },
    optimization: { update_freq: updateFreq, max_update: maxUpdate },
    model: { clone_batch: masks },
  }) as RunConfig;

it('says what an update, an epoch and the run are made of', () => {
  expect(describeEffectiveBatch(config(16, 4, 1000), { samples: 6400, updates: 100 })).toBe(
    'one update: 64 samples (16 x 4 accumulated) x 8 masks = 512 masked views; ' +
      'one epoch: 6400 samples = 100 updates; the run: 1000 updates = 10 epochs',
  );
  expect(describeEffectiveBatch(config(16, 1, null, 1), { samples: 100, updates: 6.25 })).toBe(
    'one update: 16 samples x 1 mask = 16 masked views; one epoch: 100 samples = 6.25 updates',
  );
});

it('counts in the unit of the modality where batches are made by length', () => {
  const epoch = { samples: 206, updates: 10, length: 410.3, padded: 422.5 };
  expect(describeEffectiveBatch(config(null, 1, 100, 8, 45.5), epoch, 'seconds')).toBe(
    'one update: up to 45.5 seconds, on average 20.6 samples x 8 masks = 165 masked views; ' +
      'one epoch: 206 samples = 410 seconds (3 % more with padding) = 10 updates; the run: 100 updates = 10 epochs',
  );
  expect(describeEffectiveBatch(config(16, 4, null, 8, 512), epoch, 'tokens')).toContain(
    'one update: up to 2048 tokens (512 x 4 accumulated) and 64 samples, on average',
  );
});
