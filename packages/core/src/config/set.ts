import { parse } from 'yaml';
import type { z } from 'zod';
import { D2vError } from '../errors.js';
import { unknownKeyMessage } from './check.js';
import { expected, objectShape, schemaAt } from './introspect.js';
import { type Layer, objectLayer, type Plain } from './layer.js';
import { nest } from './merge.js';

/** A `key=value` text and the flag that it came from, for messages. */
export interface Assignment {
  text: string;
  flag: string;
}

/**
 * One `--set a.b.c=value`: the text is read as the type that the schema has for the key, so `--set common.seed=7` is
 * a number and `--set data.path=7` a folder. Lists are written `0.9,0.95` or `[0.9, 0.95]`, no value as `null`.
 * @throws D2vError for an unknown key or a value that does not fit
 */
export function setLayer(schema: z.ZodType, given: string | Assignment): Layer {
  const assignment = typeof given === 'string' ? given : given.text;
  const at = assignment.indexOf('=');
  const key = assignment.slice(0, Math.max(0, at)).trim();
  if (at < 1 || key === '') {
    throw new D2vError(`--set ${assignment}: write it as key=value, e.g. --set optimization.lr=0.001`);
  }
  const text = assignment.slice(at + 1).trim();
  const path = key.split('.');
  const origin = typeof given === 'string' ? `--set ${key}` : given.flag;
  const leaf = schemaAt(schema, path);
  if (!leaf || path.includes('__proto__'))
    throw new D2vError(`${origin}: ${unknownKeyMessage(schema, path)}`);
  return objectLayer(nest(path, readValue(leaf, text, origin)) as Plain, origin);
}

function readValue(schema: z.ZodType, text: string, origin: string): unknown {
  const candidates: unknown[] = [];
  const add = (yaml: string) => {
    try {
      candidates.push(parse(yaml, { maxAliasCount: 0 }));
    } catch {
      // Not YAML; it may still be plain text.
    }
  };
  add(text);
  candidates.push(text);
  if (text.includes(',')) add(`[${text}]`);
  const fits = candidates.find((candidate) => schema.safeParse(candidate).success);
  if (fits !== undefined) return fits;
  // A whole section: its keys are checked with those of the other layers.
  if (objectShape(schema) && typeof candidates[0] === 'object') return candidates[0];
  // A number out of range: let the full check say what the range is.
  if (typeof candidates[0] === 'number' && typeof candidates[0] === numberLike(schema)) return candidates[0];
  // Of the right type, and refused by a check with a message of its own.
  for (const candidate of candidates) {
    const own = schema.safeParse(candidate).error?.issues.find(({ code }) => code === 'custom');
    if (own) throw new D2vError(`${origin}: ${own.message}`);
  }
  throw new D2vError(`${origin} must be ${expected(schema)}, not "${text}"`);
}

const numberLike = (schema: z.ZodType): string => (/number/.test(expected(schema)) ? 'number' : '');
