export { z } from 'zod';
export { dataByModality, dataLayer } from './data-layer.js';
export {
  namedModalities,
  portableConfig,
  readRunConfig,
  readRunModalities,
  writeRunConfig,
} from './files.js';
export {
  type AnyConfig,
  checkNames,
  dataKey,
  isJoint,
  type JointConfig,
  modalitiesOf,
  viewOf,
} from './joint.js';
export { jointPresets } from './joint-presets.js';
export { type Layer, objectLayer, type Plain, readYamlLayer, yamlLayer } from './layer.js';
export { presetOf } from './preset-layers.js';
export { configToYaml, type PrintOptions } from './print.js';
export {
  type Changes,
  derivedKeys,
  inputLayer,
  type JointResolveOptions,
  type Modalities,
  overrideConfig,
  parseResolved,
  type ResolveOptions,
  resolveConfig,
} from './resolve.js';
export { resumeConfig } from './resume.js';
export { type DataConfig, type RunConfig, type RunConfigInput, runConfigSchema } from './schema.js';
export {
  checkpointSchema,
  commonSchema,
  dataSchema,
  evalSchema,
  lrSchedulerSchema,
  optimizationSchema,
  optimizerSchema,
  stopSchema,
} from './sections.js';
export type { Assignment } from './set.js';
export { didYouMean, nearest } from './suggest.js';
