/** Options of a dataset: from texts or values to what its schema says, and the name of the folder that belongs to them. */
import { createHash } from 'node:crypto';
import { checkKeys, issueMessage } from '../config/check.js';
import { description, expected, objectShape } from '../config/introspect.js';
import { objectLayer, type Plain } from '../config/layer.js';
import { setLayer } from '../config/set.js';
import { didYouMean } from '../config/suggest.js';
import { D2vError } from '../errors.js';
import type { ManagedDataset } from './types.js';

/** The one split of a dataset that states none. */
export const ONLY_SPLIT = 'all';

/** Options, checked. */
export interface ChosenOptions {
  /** What the schema made of them. */
  options: unknown;
  splits: readonly string[];
  /** Whether the splits were named, not taken by default. */
  named: boolean;
  /** Folder name of what is prepared with these options: `default`, or what differs from it. */
  variant: string;
}

/**
 * Checks the options of a dataset.
 * @throws D2vError naming the option and what is expected
 */
export function chooseOptions(
  dataset: ManagedDataset,
  given: Readonly<Record<string, unknown>> = {},
): ChosenOptions {
  const { splits: wanted, ...own } = given;
  checkKeys(dataset.options, objectLayer(own as Plain, `options of ${dataset.name}`));
  const options = parse(dataset, own);
  const splits = chooseSplits(dataset, wanted);
  return { options, splits, named: wanted !== undefined, variant: variantOf(options, parse(dataset, {})) };
}

/**
 * One option from the command line, `max_side` and `256`, read as the type that the dataset has for it.
 * @param text null: the flag stands alone, which is `true`
 * @throws D2vError for an unknown option or a value that does not fit
 */
export function readOption(
  dataset: ManagedDataset,
  key: string,
  text: string | null,
): Record<string, unknown> {
  const shape = objectShape(dataset.options) ?? {};
  const flags = Object.keys(shape).map(flagOf);
  const schema = Object.hasOwn(shape, key) ? shape[key] : undefined;
  if (!schema) {
    throw new D2vError(
      `${flagOf(key)}: the dataset ${dataset.name} has no such option${didYouMean(flagOf(key), flags, 0)} (it has ${flags.join(', ') || 'none of its own'})`,
    );
  }
  if (text === null) {
    if (schema.safeParse(true).success) return { [key]: true };
    throw new D2vError(`${flagOf(key)} needs a value behind it: ${expected(schema)}`);
  }
  return setLayer(dataset.options, { text: `${key}=${text}`, flag: flagOf(key) }).value;
}

/** The options that a dataset brings, for help. */
export function datasetOptionList(
  dataset: ManagedDataset,
): { flag: string; key: string; expected: string; description: string; default: unknown }[] {
  const defaults = parse(dataset, {}) as Record<string, unknown>;
  return Object.entries(objectShape(dataset.options) ?? {}).map(([key, schema]) => ({
    flag: flagOf(key),
    key,
    expected: expected(schema),
    description: description(schema) ?? '',
    default: defaults[key],
  }));
}

/** `--max-side` for `max_side`. */
export const flagOf = (key: string): string => `--${key.replaceAll('_', '-')}`;

/** All splits of a dataset. */
export const splitNames = (dataset: ManagedDataset): string[] =>
  dataset.splits ? Object.keys(dataset.splits) : [ONLY_SPLIT];

function parse(dataset: ManagedDataset, own: object): unknown {
  const result = dataset.options.safeParse(own);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  // Of several options together, it names them itself.
  const message =
    issue.path.length === 0 && issue.code === 'custom'
      ? issue.message
      : issueMessage(dataset.options, issue, own);
  throw new D2vError(`options of ${dataset.name}: ${message}`);
}

function chooseSplits(dataset: ManagedDataset, wanted: unknown): string[] {
  const all = splitNames(dataset);
  if (wanted === undefined || wanted === null) {
    return all.filter((name) => dataset.splits?.[name]?.default !== false);
  }
  const names = typeof wanted === 'string' ? wanted.split(',').flatMap((name) => name.trim() || []) : wanted;
  if (!Array.isArray(names) || names.length === 0 || !names.every((name) => typeof name === 'string')) {
    throw new D2vError(`splits of ${dataset.name} must be a list of names, of ${all.join(', ')}`);
  }
  if (names.length === 1 && names[0] === 'all') return all;
  const unknown = names.find((name: string) => !all.includes(name));
  if (unknown !== undefined) {
    throw new D2vError(
      `${dataset.name} has no split "${unknown}"${didYouMean(unknown, all, 0)}: there are ${all.join(', ')}`,
    );
  }
  return all.filter((name) => names.includes(name));
}

function variantOf(options: unknown, defaults: unknown): string {
  const [mine, theirs] = [options, defaults].map((value) => (value ?? {}) as Record<string, unknown>);
  const changed = Object.keys(mine!)
    .sort()
    .filter((key) => JSON.stringify(mine![key]) !== JSON.stringify(theirs![key]));
  if (changed.length === 0) return 'default';
  const text = changed.map((key) => `${key}-${String(mine![key])}`).join(',');
  if (/^[A-Za-z0-9._,-]{1,80}$/.test(text)) return text;
  const values = changed.map((key) => [key, mine![key]]);
  return `options-${createHash('sha256').update(JSON.stringify(values)).digest('hex').slice(0, 12)}`;
}
