export { type BatchBounds, boundsOf, cutBatches } from './batches.js';
export { mapConcurrent } from './concurrency.js';
export {
  type FileKind,
  type FoundFile,
  type FoundInput,
  findFiles,
  findInput,
  hasEnding,
} from './files/find.js';
export {
  classNames,
  LABEL_RULES,
  type LabelledFiles,
  type LabelRule,
  namedFiles,
  openLabelledFiles,
} from './files/labelled.js';
export { isHeldOut } from './held-out.js';
export { joinSources } from './join-sources.js';
export { lengthsOf } from './lengths.js';
export type { BadSample, BatchJob, LoadedBatch } from './load-batch.js';
export { automaticWorkers, DataLoader, type LoaderOptions } from './loader.js';
export { explainCacheError } from './packages/cache-error.js';
export { type FetchOptions, type PinnedPackage, withPackage } from './packages/npm.js';
export { removeStale } from './packages/stale.js';
export { readTarball } from './packages/tarball.js';
export {
  EpochSampler,
  type RankShare,
  type SamplePosition,
  type SamplerOptions,
  type Slot,
} from './sampler.js';
export {
  createUpdateSampler,
  type EpochContents,
  type SampledBatch,
  type UpdateSampler,
  type UpdateSamplerOptions,
} from './update-sampler.js';
