/** The guard against collapse: a model whose targets or predictions have become constant has stopped learning. */
import { D2vError } from '../errors.js';
import type { ModelConfig } from './config.js';

/** Training has collapsed. */
export class CollapseError extends D2vError {
  override readonly name = 'CollapseError';
}

/** Updates that a model has to spread its features before it is checked. */
const GRACE = 5000;

/**
 * Compares the standard deviations of targets and predictions with their limits.
 * @param metrics those of a forward pass
 * @throws CollapseError past 5000 updates
 */
export function checkCollapse(
  metrics: Record<string, number>,
  updates: number,
  config: Pick<ModelConfig, 'min_target_var' | 'min_pred_var'>,
): void {
  if (updates <= GRACE) return;
  for (const [name, value] of Object.entries(metrics)) {
    const key = name.startsWith('target_var')
      ? 'min_target_var'
      : name.startsWith('pred_var')
        ? 'min_pred_var'
        : null;
    if (key && value < config[key]) {
      throw new CollapseError(
        `the model has collapsed: ${name} is ${value.toPrecision(3)}, below ${key} ${config[key]}, after ${updates} ` +
          'updates. Lower the learning rate, lengthen the warm-up or raise ema_decay, and restart from an earlier checkpoint',
      );
    }
  }
}
