export * from './blocks.js';
export * from './info.js';
export * from './random.js';
export type { RowRandom } from './sampling.js';
export * from './spans.js';
