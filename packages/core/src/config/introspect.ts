/**
 * Looking into a zod schema: which keys there are, what a key expects, what its description is. One small walker
 * serves unknown-key checks, `--set` and the comments of the printed config.
 */
import type { z } from 'zod';

/** A schema with the wrappers (optional, nullable, default, ...) taken off. */
interface Definition {
  type: string;
  innerType?: z.ZodType;
  in?: z.ZodType;
  out?: z.ZodType;
  getter?: () => z.ZodType;
  shape?: Record<string, z.ZodType>;
  catchall?: z.ZodType;
  valueType?: z.ZodType;
  options?: z.ZodType[];
  element?: z.ZodType;
  items?: z.ZodType[];
  entries?: Record<string, string | number>;
  values?: unknown[];
}

const definition = (schema: z.ZodType): Definition => schema.def as unknown as Definition;

/** Takes wrappers off until a type that carries values is reached. */
export function unwrap(schema: z.ZodType): z.ZodType {
  let current = schema;
  for (let depth = 0; depth < 32; depth++) {
    const def = definition(current);
    if (def.type === 'pipe') {
      // preprocess(f, S) is pipe(transform, S); S.transform(f) is pipe(S, transform): keep the side with a type.
      current = definition(def.in!).type === 'transform' ? def.out! : def.in!;
    } else if (def.type === 'lazy') current = def.getter!();
    else if (def.innerType) current = def.innerType;
    else return current;
  }
  return current;
}

/** Keys of an object schema (wrapped or not), or undefined if it is not one. */
export function objectShape(schema: z.ZodType): Record<string, z.ZodType> | undefined {
  const def = definition(unwrap(schema));
  return def.type === 'object' ? def.shape : undefined;
}

/** Whether any key is allowed below this schema (records, loose values), or only those of `objectShape`. */
export function isOpen(schema: z.ZodType): boolean {
  const { type } = definition(unwrap(schema));
  return type === 'record' || type === 'any' || type === 'unknown' || type === 'custom';
}

/** The description of a key: its own, or that of the type inside its wrappers. */
export function description(schema: z.ZodType): string | undefined {
  let current: z.ZodType | undefined = schema;
  for (let depth = 0; current && depth < 32; depth++) {
    if (current.description) return current.description;
    const def: Definition = definition(current);
    current = def.innerType ?? (def.type === 'pipe' ? unwrap(current) : undefined);
  }
  return undefined;
}

/** The schema at a path, or undefined if a key on the way does not exist. Alternatives of a union are searched. */
export function schemaAt(root: z.ZodType, path: readonly PropertyKey[]): z.ZodType | undefined {
  let current = root;
  for (const [i, key] of path.entries()) {
    const bare = unwrap(current);
    const def = definition(bare);
    let next: z.ZodType | undefined;
    if (def.type === 'object') next = Object.hasOwn(def.shape!, key) ? def.shape![String(key)] : undefined;
    else if (def.type === 'record') next = def.valueType;
    else if (def.type === 'array') next = def.element;
    else if (def.type === 'tuple') next = def.items?.[Number(key)];
    else if (def.type === 'union') {
      for (const option of def.options!) {
        const found = schemaAt(option, path.slice(i));
        if (found) return found;
      }
    } else if (isOpen(bare)) return bare;
    if (!next) return undefined;
    current = next;
  }
  return current;
}

/** All leaf keys as dotted paths, in declaration order. */
export function leafKeys(schema: z.ZodType, prefix = ''): string[] {
  const shape = objectShape(schema);
  if (!shape) return [prefix];
  const keys: string[] = [];
  for (const [key, child] of Object.entries(shape)) {
    const path = prefix ? `${prefix}.${key}` : key;
    if (objectShape(child)) keys.push(path, ...leafKeys(child, path));
    else keys.push(path);
  }
  return keys;
}

/** What a value must be, in words: "a whole number", "one of student, teacher", "a list of 2 numbers or null". */
export function expected(schema: z.ZodType): string {
  let nullable = false;
  let current = schema;
  for (let depth = 0; depth < 32; depth++) {
    const def = definition(current);
    if (def.type === 'nullable') nullable = true;
    if (def.innerType) current = def.innerType;
    else break;
  }
  const bare = unwrap(current);
  return `${words(bare)}${nullable ? ' or null' : ''}`;
}

function words(schema: z.ZodType): string {
  const def = definition(schema);
  switch (def.type) {
    case 'number': {
      const format = (schema as z.ZodNumber).format;
      return format === 'safeint' || format?.includes('int') ? 'a whole number' : 'a number';
    }
    case 'string':
      return 'text';
    case 'boolean':
      return 'true or false';
    case 'enum':
      return `one of ${Object.values(def.entries!).join(', ')}`;
    case 'literal':
      return def.values!.map((v) => JSON.stringify(v)).join(' or ');
    case 'array':
      return `a list, each element ${expected(def.element!)}`;
    case 'tuple':
      return `a list of ${def.items!.length}, each element ${expected(def.items![0]!)}`;
    case 'object':
    case 'record':
      return 'a section with keys';
    case 'union':
      return def.options!.map(expected).join(' or ');
    default:
      return def.type;
  }
}
