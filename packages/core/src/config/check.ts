/** Unknown keys and ill-typed values, as one-line errors that name the full key, its origin and the remedy. */
import type { z } from 'zod';
import { D2vError } from '../errors.js';
import { expected, isOpen, leafKeys, objectShape, schemaAt } from './introspect.js';
import { isPlain, type Layer } from './layer.js';
import { valueAt } from './merge.js';
import { dividedBetween } from './schema.js';
import { nearest } from './suggest.js';

/** Where settings of the reference's own config groups live here. */
const MOVED: Record<string, string> = {
  'task.data': 'data.path',
  'dataset.batch_size': 'data.batch_size',
  'dataset.num_workers': 'data.num_workers',
  'dataset.max_tokens': 'data.batch_length',
  'common.fp16': 'common.dtype',
  'common.bf16': 'common.dtype',
  'common.tensorboard_logdir': 'common.tensorboard',
  'common.cpu': 'common.device',
  'checkpoint.save_dir': '--run',
  'optimization.stop_time_hours': 'stop.max_seconds',
  'optimization.max_epoch': 'optimization.max_update',
  'optimization.stop_min_lr': 'lr_scheduler.min_lr',
  task: 'data',
  dataset: 'data',
};

/** The key that an unknown one was probably meant to be: a full dotted name, or undefined. */
export function suggestKey(schema: z.ZodType, unknown: readonly string[]): string | undefined {
  const dotted = unknown.join('.');
  if (Object.hasOwn(MOVED, dotted)) return MOVED[dotted];
  const keys = leafKeys(schema).filter((key) => key !== '');
  const leaf = unknown.at(-1)!;
  const parent = unknown.slice(0, -1).join('.');
  const lastPart = (key: string) => key.slice(key.lastIndexOf('.') + 1);
  // The right name in the wrong section, then a slip in the right section, then a slip anywhere.
  const same = keys.filter((key) => lastPart(key) === leaf);
  if (same.length > 0) return nearest(dotted, same) ?? same[0];
  const siblings = Object.keys(
    (parent ? objectShapeAt(schema, unknown.slice(0, -1)) : objectShape(schema)) ?? {},
  );
  const sibling = nearest(leaf, siblings);
  if (sibling !== undefined) return parent ? `${parent}.${sibling}` : sibling;
  // The name without what its section adds to it (`kernel` for `decoder.decoder_kernel`).
  const shared = (key: string) => unknown.filter((part) => key.split('.').includes(part)).length;
  const longer = keys.filter(
    (key) => leaf.length >= 3 && lastPart(key).endsWith(`_${leaf}`) && shared(key) > 0,
  );
  if (longer.length > 0) return longer.reduce((best, key) => (shared(key) > shared(best) ? key : best));
  const near = nearest(leaf, keys.map(lastPart));
  return near === undefined ? nearest(dotted, keys) : keys.find((key) => lastPart(key) === near);
}

function objectShapeAt(schema: z.ZodType, path: readonly string[]) {
  const at = schemaAt(schema, path);
  return at && objectShape(at);
}

/** The message for an unknown key. */
export function unknownKeyMessage(schema: z.ZodType, path: readonly string[]): string {
  const section = schemaAt(schema, path.slice(0, -1));
  const modalities = section && dividedBetween(section);
  if (modalities) return `unknown key "${path.join('.')}" (${inDivided(section, modalities, path)})`;
  const near = suggestKey(schema, path);
  const remedy = near === undefined ? '"d2v config <modality>" lists all keys' : `did you mean "${near}"?`;
  return `unknown key "${path.join('.')}" (${remedy})`;
}

/** What an unknown key of a section with a part per modality was meant to be: a key of those parts, or another name. */
function inDivided(section: z.ZodType, modalities: string[], path: readonly string[]): string {
  const leaf = path.at(-1)!;
  const owners = modalities.filter((name) => {
    const part = schemaAt(section, [name]);
    return part && Object.hasOwn(objectShape(part) ?? {}, leaf);
  });
  const keys = owners.map((name) => [...path.slice(0, -1), name, leaf].join('.'));
  if (keys.length === 1) return `did you mean "${keys[0]}"?`;
  if (keys.length > 1) return `each modality has its own: ${keys.join(', ')}`;
  const near = nearest(leaf, Object.keys(objectShape(section) ?? {}));
  return near === undefined
    ? `this run has no modality "${leaf}", only ${modalities.join(', ')}`
    : `did you mean "${[...path.slice(0, -1), near].join('.')}"?`;
}

/** @throws D2vError at the first key of the layer that the schema does not know */
export function checkKeys(schema: z.ZodType, layer: Layer): void {
  walk(schema, layer.value, []);

  function walk(at: z.ZodType, value: unknown, path: string[]): void {
    if (!isPlain(value)) return;
    const shape = objectShape(at);
    if (!shape && !isOpen(at)) return;
    for (const [key, child] of Object.entries(value)) {
      const here = [...path, key];
      if (key === '__proto__' || (shape && !Object.hasOwn(shape, key))) {
        throw new D2vError(`${layer.where(here)}: ${unknownKeyMessage(schema, here)}`);
      }
      const next = shape ? shape[key] : schemaAt(at, [key]);
      if (next) walk(next, child, here);
    }
  }
}

/** One line for the first of zod's issues. */
export function issueMessage(schema: z.ZodType, issue: z.core.$ZodIssue, input: unknown): string {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') return unknownKeyMessage(schema, [...path, issue.keys[0]!]);
  const key = path.length > 0 ? path.join('.') : 'config';
  const at = schemaAt(schema, path);
  const got = valueAt(input, issue.path);
  const shown = show(got);
  if (issue.code === 'too_small' || issue.code === 'too_big') {
    const bound = issue.code === 'too_small' ? issue.minimum : issue.maximum;
    const side = issue.code === 'too_small' ? 'least' : 'most';
    if (issue.origin === 'array') return `${key} must have at ${side} ${bound} elements, not ${shown}`;
    return `${key} must be ${issue.inclusive ? `at ${side}` : side === 'least' ? 'above' : 'below'} ${bound}, not ${shown}`;
  }
  if (issue.code === 'custom') return `${key}: ${issue.message}`;
  if (got === undefined && at) return `${key} is missing: it must be ${expected(at)}`;
  return at ? `${key} must be ${expected(at)}, not ${shown}` : `${key}: ${issue.message}`;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
