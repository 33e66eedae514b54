/** Builds our model from a fixture and brings it to the fixture's starting point. */
import {
  type Batch,
  Data2Vec,
  type HostTensor,
  type Modality,
  modelConfigSchema,
  type PlannedBatch,
} from '@d2v/core';
import type { Fixture } from './fixture.js';
import { stepNoise } from './noise.js';

/** A model with the fixture's configuration and weights. */
export function buildModel(
  fixture: Fixture,
  modality: Modality,
  device: string,
  decayAll: boolean,
): Data2Vec {
  const config = modelConfigSchema.parse(fixture.info.config);
  addVocabulary(config.modalities, fixture);
  const model = Data2Vec.create({ config, modalities: [modality], device, decayAll, pretraining: true });
  // Frozen tensors may be left out of a fixture's teacher, so the strictness is the comparison's business.
  const state = fixture.group('param/');
  for (const [name, value] of fixture.group('ema/')) state.set(`_ema.${name}`, value);
  model.loadState(state, { strict: false });
  return model;
}

/** The reference takes the size of a vocabulary from its dictionary, so fixtures state it beside their batch. */
function addVocabulary(modalities: Record<string, unknown>, { info }: Fixture): void {
  const name = info.modality.toLowerCase();
  const size = info.batch?.vocab_size;
  if (size !== undefined) modalities[name] = { ...(modalities[name] as object), vocab_size: size };
}

/** The fixture's input as a batch: every `input/*` tensor but masks and noise. */
export function fixtureBatch(fixture: Fixture): Batch {
  const tensors: Record<string, HostTensor> = {};
  for (const name of fixture.names) {
    const key = name.replace(/^input\//, '');
    if (!name.startsWith('input/') || key === 'mask' || key === 'mask_noise') continue;
    tensors[key === 'padding_mask' ? 'padding' : key] = {
      data: fixture.raw(name),
      shape: fixture.shape(name),
    };
  }
  const size = tensors.source!.shape[0]!;
  return { size, tensors, ids: Array.from({ length: size }, (_, i) => i) };
}

/** The fixture's batch with its mask and the noise of a step. @param step 0-based */
export function fixturePlan(fixture: Fixture, model: Data2Vec, batch: Batch, step: number): PlannedBatch {
  const mask = Uint8Array.from(fixture.raw('input/mask'));
  const { noise } = fixture.info;
  let values: Float32Array | undefined;
  if (step === 0 && fixture.has('input/mask_noise')) values = fixture.float('input/mask_noise');
  else if (noise) {
    const size = noise.shape.reduce((n, d) => n * d, 1);
    values = stepNoise(noise.noise_seed, step, size, noise.std);
  }
  const modality = fixture.info.modality;
  return model.plan(batch, { modality, update: step, firstSample: 0, mask, noise: values });
}
