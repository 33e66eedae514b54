import { type AnyConfig, isJoint } from '../config/joint.js';
import { Philox } from '../random.js';

/**
 * Which modality an update is of: drawn with `joint.ratios` as odds, from the seed and the update alone, so that a
 * resumed run draws what it would have drawn.
 * @returns a function of the number of updates done before
 */
export function modalityChoice(config: AnyConfig): (update: number) => string {
  if (!isJoint(config)) return () => config.modality;
  const shares = updateShares(config);
  const { seed } = config.common;
  return (update) => {
    let rest = new Philox(seed).fork('modality', update).uniform();
    for (const [name, share] of shares) {
      rest -= share;
      if (rest < 0) return name;
    }
    // Rounding: the shares add up to 1 but for the last digit.
    return shares.at(-1)![0];
  };
}

/** The share of all updates that each modality has; together 1. */
export function updateShares(config: AnyConfig): [name: string, share: number][] {
  if (!isJoint(config)) return [[config.modality, 1]];
  const { ratios } = config.joint;
  const total = config.modalities.reduce((sum, name) => sum + ratios[name]!, 0);
  return config.modalities.map((name) => [name, ratios[name]! / total]);
}
