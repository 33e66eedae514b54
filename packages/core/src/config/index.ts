export { z } from 'zod';
export { dataLayer } from './data-layer.js';
export { portableConfig, readRunConfig, readRunModality, writeRunConfig } from './files.js';
export { type Layer, objectLayer, type Plain, readYamlLayer, yamlLayer } from './layer.js';
export { configToYaml, type PrintOptions } from './print.js';
export {
  inputLayer,
  overrideConfig,
  parseResolved,
  presetOf,
  type ResolveOptions,
  resolveConfig,
} from './resolve.js';
export { resumeConfig } from './resume.js';
export {
  checkpointSchema,
  commonSchema,
  dataSchema,
  evalSchema,
  lrSchedulerSchema,
  optimizationSchema,
  optimizerSchema,
  type RunConfig,
  type RunConfigInput,
  runConfigSchema,
  stopSchema,
} from './schema.js';
export type { Assignment } from './set.js';
export { didYouMean, nearest } from './suggest.js';
