/** A config as YAML with a comment per key, taken from the schema. */
import { Document, isMap, isScalar, isSeq, type Pair, type Scalar, YAMLMap } from 'yaml';
import type { z } from 'zod';
import { description, schemaAt } from './introspect.js';

export interface PrintOptions {
  /** Put each key's description beside it (default true). */
  comments?: boolean;
  /** Keys whose values follow from others (`derivedKeys`): they stand in comments only, or are left out without. */
  derived?: readonly (readonly string[])[];
}

const STYLE = { lineWidth: 0, flowCollectionPadding: false } as const;
const DERIVED_NOTE =
  ' Keys behind a # follow from other settings, such as the data; remove the # to fix one.';

/**
 * YAML text of a config, keys in the schema's order; reading it back gives the same config, derived keys aside.
 * @param schema of `runConfigSchema(modality)`
 */
export function configToYaml(schema: z.ZodType, config: object, options: PrintOptions = {}): string {
  const doc = new Document(config, { aliasDuplicateObjects: false });
  if (options.comments !== false) annotate(doc.contents, []);
  else flowLists(doc.contents);
  const derived = new Set((options.derived ?? []).map((path) => path.join('.')));
  if (derived.size > 0) {
    setAside(doc.contents, derived, options.comments !== false);
    if (options.comments !== false) doc.commentBefore = DERIVED_NOTE;
  }
  return doc.toString(STYLE);

  function annotate(node: unknown, path: string[]): void {
    if (!isMap(node)) return;
    node.items.forEach((item, i) => {
      const pair = item as Pair<Scalar<string>, unknown>;
      const here = [...path, String(pair.key.value)];
      const at = schemaAt(schema, here);
      const text = at && description(at);
      const { value } = pair;
      if (isMap(value) && value.items.length > 0) {
        if (path.length === 0 && i > 0) pair.key.spaceBefore = true;
        if (text) pair.key.commentBefore = ` ${text}`;
        annotate(value, here);
        return;
      }
      flowLists(value);
      if (isScalar(value) && isTiny(value.value)) value.format = 'EXP';
      if (text && (isScalar(value) || isSeq(value) || isMap(value))) value.comment = ` ${text}`;
    });
  }

  function flowLists(node: unknown): void {
    if (isSeq(node)) node.flow = true;
    if (isMap(node)) for (const pair of node.items) flowLists(pair.value);
  }
}

/** Takes keys out of a map and its sections; their lines become comments at the place. */
function setAside(node: unknown, keys: ReadonlySet<string>, comments: boolean, above = ''): void {
  if (!isMap(node)) return;
  const kept: typeof node.items = [];
  let lines: string[] = [];
  for (const item of node.items as Pair<Scalar<string>, unknown>[]) {
    const path = `${above}${item.key.value}`;
    if (keys.has(path)) {
      if (comments) lines.push(...linesOf(item).map((line) => ` ${line}`));
      continue;
    }
    if (lines.length > 0) item.key.commentBefore = [...lines, item.key.commentBefore ?? []].flat().join('\n');
    lines = [];
    kept.push(item);
    setAside(item.value, keys, comments, `${path}.`);
  }
  node.items = kept;
  if (lines.length > 0) node.comment = lines.join('\n');
}

function linesOf(pair: Pair<Scalar<string>, unknown>): string[] {
  const map = new YAMLMap<Scalar<string>, unknown>();
  map.items.push(pair);
  const doc = new Document();
  doc.contents = map as unknown as typeof doc.contents;
  return doc.toString(STYLE).trimEnd().split('\n');
}

/** Numbers that read better as 1e-6. */
const isTiny = (value: unknown): boolean =>
  typeof value === 'number' && value !== 0 && Math.abs(value) < 1e-3;
