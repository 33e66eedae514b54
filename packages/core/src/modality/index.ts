export { dataCacheDir } from './cache-dir.js';
export * from './contract.js';
export { type DiscoveryOptions, discoverModalities, type PluginInfo } from './discovery.js';
export {
  importModality,
  isModality,
  type LoadModalityOptions,
  loadModality,
  loadPlugin,
  registerModality,
} from './registry.js';
