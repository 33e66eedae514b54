/** The built-in datasets by name. */
import { D2vError, didYouMean } from '@d2v/core';
import type { BuiltInText } from './built-in.js';
import { glosses } from './glosses.js';
import { sotu } from './sotu.js';

export const datasets: Record<string, BuiltInText> = Object.fromEntries(
  [glosses, sotu].map((set) => [set.name, set]),
);

/** Used when neither data.path nor data.dataset is given. */
export const DEFAULT_DATASET = glosses.name;

/** The built-in dataset of that name. @throws D2vError naming the nearest one */
export function datasetOf(name: string): BuiltInText {
  if (Object.hasOwn(datasets, name)) return datasets[name]!;
  throw new D2vError(`there is no dataset "${name}"${didYouMean(name, Object.keys(datasets), 20)}`);
}
