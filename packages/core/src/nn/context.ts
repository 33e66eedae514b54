import type { RngStream } from '../random.js';

/** What every module's forward pass is told. */
export interface ForwardContext {
  /** Dropout, stochastic depth and the like are active. */
  training: boolean;
  /** Source of random keys; drawn from in the order of the calls, so a forward pass is repeatable. */
  rng: RngStream;
}
