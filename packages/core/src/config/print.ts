/** A config as YAML with a comment per key, taken from the schema. */
import { Document, isMap, isScalar, isSeq, type Pair, type Scalar } from 'yaml';
import type { z } from 'zod';
import { description, schemaAt } from './introspect.js';

export interface PrintOptions {
  /** Put each key's description beside it (default true). */
  comments?: boolean;
}

/**
 * YAML text of a config, keys in the schema's order; reading it back gives the same config.
 * @param schema of `runConfigSchema(modality)`
 */
export function configToYaml(schema: z.ZodType, config: object, options: PrintOptions = {}): string {
  const doc = new Document(config, { aliasDuplicateObjects: false });
  if (options.comments !== false) annotate(doc.contents, []);
  else flowLists(doc.contents);
  return doc.toString({ lineWidth: 0, flowCollectionPadding: false });

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

/** Numbers that read better as 1e-6. */
const isTiny = (value: unknown): boolean =>
  typeof value === 'number' && value !== 0 && Math.abs(value) < 1e-3;
