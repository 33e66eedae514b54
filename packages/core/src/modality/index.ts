export { dataCacheDir } from './cache-dir.js';
export type {
  CommandArgument,
  CommandIo,
  CommandOption,
  CommandValues,
  ModalityCommand,
} from './commands.js';
export * from './contract.js';
export { type DiscoveryOptions, discoverModalities, type PluginInfo } from './discovery.js';
export {
  describePlugin,
  importModality,
  isModality,
  type LoadModalityOptions,
  loadModality,
  loadPlugin,
  registerModality,
} from './registry.js';
