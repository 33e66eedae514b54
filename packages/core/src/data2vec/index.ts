export { type Coordinates, gridCoordinates, lineCoordinates } from './alibi.js';
export { AttentionInput } from './attention-input.js';
export {
  BlockEncoder,
  type BlockHooks,
  makeBlock,
  makeBlocks,
  makeContextEncoder,
  makeNorm,
  modelInit,
  runBlocks,
} from './blocks.js';
export { CollapseError } from './collapse.js';
export * from './config.js';
export { Decoder, Decoder1d, Decoder2d, type DecoderOptions, SequenceDecoder } from './decoder.js';
export type { DecoderSource } from './decoder-source.js';
export { EmaSchedule } from './ema.js';
export type { FeatureOptions, Features, Pool } from './features.js';
export type { ForwardOptions, ForwardResult } from './forward.js';
export * from './masking/index.js';
export {
  type EncoderContext,
  type EncoderParts,
  type LocalEncoder,
  ModalityEncoder,
  type PositionEncoder,
  type TokenLayout,
} from './modality-encoder.js';
export { Data2Vec, type Data2VecOptions } from './model.js';
export { Pass, type Probe } from './pass.js';
export type { PlannedBatch, PlanOptions } from './plan.js';
export { type LoadReport, TEACHER_PREFIX } from './state.js';
export { Student } from './student.js';
export { TargetBuilder } from './targets.js';
export { averagedByTeacher, Teacher } from './teacher.js';
export { EncDecTransformerDecoder, TransformerDecoder } from './transformer-decoder.js';
