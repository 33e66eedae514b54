/** Public face of core: one line per folder, each folder decides in its own index what is public. */
export * from './config/index.js';
export * from './data/index.js';
export * from './data2vec/index.js';
export * from './datasets/index.js';
export * from './errors.js';
export * from './evaluation/index.js';
export * from './interchange/index.js';
export * from './modality/index.js';
export * from './nn/index.js';
export * from './random.js';
export * from './tensor/index.js';
export * from './training/index.js';
