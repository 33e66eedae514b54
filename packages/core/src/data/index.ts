export type { BadSample, BatchJob, LoadedBatch } from './load-batch.js';
export { automaticWorkers, DataLoader, type LoaderOptions } from './loader.js';
export { EpochSampler, type SamplePosition, type SamplerOptions, type Slot } from './sampler.js';
