/**
 * Images in tar shards (WebDataset layout): shards of the user's own, and what datasets are prepared into. Any sample is one
 * read away, so training draws from all shards at once: nothing depends on the order in which samples were written.
 */
import {
  D2vError,
  type DataConfig,
  type DataSource,
  isHeldOut,
  type OpenDataOptions,
  type ShardPaths,
  TarShards,
} from '@d2v/core';
import type { ImageDataConfig } from '../data-config.js';
import { decodePlanned, IMAGE_EXTENSIONS, openImageBytes } from '../decode.js';
import { applyPlan, normalize, planTransform } from '../transforms.js';

/** What the samples of shards are. */
export interface ShardContents {
  name: string;
  /** Class names by label. */
  classes?: string[];
  license?: string;
  /** Raw pixels, 3 bytes each, of this width and height under the ending `rgb`; default: image files. */
  raw?: { width: number; height: number };
}

type Member = { shards: TarShards; index: number };
type OpenOptions = Pick<OpenDataOptions, 'split' | 'cacheDir' | 'log'>;

const MOST_CLASSES = 1e6;

/** Opens the samples of a part. @throws D2vError if there are none */
export async function openShards(
  paths: ShardPaths,
  contents: ShardContents,
  data: ImageDataConfig & Pick<DataConfig, 'valid_share'>,
  options: OpenOptions,
): Promise<DataSource> {
  const { split } = options;
  const { name } = contents;
  const wanted = paths.valid
    ? [...(split === 'valid' ? [] : [paths.train]), ...(split === 'train' ? [] : [paths.valid])]
    : [paths.train];
  const opened: TarShards[] = [];
  for (const list of wanted) opened.push(await TarShards.open(list, options));
  const fields = opened.map((shards) => fieldsOf(shards, contents));
  const share = paths.valid || split === 'all' ? null : data.valid_share;
  const members = opened.map((shards, i) =>
    membersOf(shards, fields[i]!, share === null ? null : { share, heldOut: split === 'valid' }),
  );
  const length = members.reduce((sum, { length }) => sum + length, 0);
  if (length === 0) throw nothing(opened, contents, split, data.valid_share, share !== null);
  options.log(`${length} images (${split}) in ${wanted.flat().length} shards of ${name}`);

  const memberOf = (index: number): Member & { field: (index: number) => string } => {
    const second = index >= members[0]!.length ? 1 : 0;
    const shards = opened[second]!;
    const at = members[second]![index - second * members[0]!.length]!;
    return { shards, index: at, field: (i) => fieldAt(shards, fields[second]!, i) };
  };
  const describe = (index: number) => {
    const member = memberOf(index);
    return member.shards.describe(member.index);
  };
  const key = (index: number) => {
    const member = memberOf(index);
    return member.shards.key(member.index);
  };
  const label = (index: number) => {
    const member = memberOf(index);
    return member.shards.label(member.index);
  };
  const labelled = contents.classes ?? numbered(opened);
  return {
    length,
    name,
    ...(labelled && { classes: labelled, label }),
    license: contents.license,
    describe,
    key,
    shards: () => startsOf(opened, members),
    async get(index, rng, mode) {
      const { shards, index: at, field } = memberOf(index);
      const bytes = (await shards.read(at, field(at)))!;
      const number = shards.label(at);
      const tensors = { source: await decoded(bytes) };
      return { tensors, label: number < 0 ? undefined : number, id: index };

      async function decoded(content: Buffer) {
        if (contents.raw) {
          const { width, height } = contents.raw;
          const plan = planTransform(width, height, data, rng, mode);
          return applyPlan({ width, height, channels: 3, data: content }, plan, data);
        }
        const image = await openImageBytes(describe(index), content, data);
        const plan = planTransform(image.width, image.height, data, rng, mode);
        return normalize(await decodePlanned(image, plan, data), plan.flip, data);
      }
    },
    async close() {
      for (const shards of opened) await shards.close();
    },
  };
}

/** Endings of the samples' files that are images. */
function fieldsOf(shards: TarShards, { raw, name }: ShardContents): string[] {
  const fields = raw
    ? shards.fields.filter((field) => field === 'rgb')
    : shards.fields.filter((field) =>
        (IMAGE_EXTENSIONS as readonly string[]).includes(field.slice(field.lastIndexOf('.') + 1)),
      );
  if (fields.length > 0) return fields;
  const raws = shards.fields.includes('tar')
    ? '; archives of archives are prepared first: d2v data prepare'
    : '';
  throw new D2vError(
    `${name}: the samples of these shards hold no images (they hold ${shards.fields.join(', ') || 'nothing'}; images are ${IMAGE_EXTENSIONS.join(', ')})${raws}`,
  );
}

/** Where each shard begins among the samples that are taken. */
function startsOf(opened: readonly TarShards[], members: readonly Uint32Array[]): number[] {
  let before = 0;
  return opened.flatMap((shards, i) => {
    let at = 0;
    const starts = shards.starts.map((first) => {
      while (at < members[i]!.length && members[i]![at]! < first) at++;
      return before + at;
    });
    before += members[i]!.length;
    return starts;
  });
}

/** A plain ending goes before one with a part in front, such as `mask.png`. */
function fieldAt(shards: TarShards, fields: readonly string[], index: number): string {
  if (fields.length === 1) return fields[0]!;
  const there = fields.filter((field) => shards.bytes(index, field) >= 0);
  return there.find((field) => !field.includes('.')) ?? there[0]!;
}

/** Samples that hold an image and are of the part that is wanted. */
function membersOf(
  shards: TarShards,
  fields: readonly string[],
  part: { share: number; heldOut: boolean } | null,
): Uint32Array {
  const members = new Uint32Array(shards.length);
  const keys = part && shards.keys();
  let length = 0;
  for (let i = 0; i < shards.length; i++) {
    const key = keys?.next().value;
    if (part && isHeldOut(key ?? '', part.share) !== part.heldOut) continue;
    if (fields.some((field) => shards.bytes(i, field) >= 0)) members[length++] = i;
  }
  return members.slice(0, length);
}

/** Names of classes that are known by number alone; undefined where no sample has one. */
function numbered(opened: readonly TarShards[]): string[] | undefined {
  let most = -1;
  for (const shards of opened) for (let i = 0; i < shards.length; i++) most = Math.max(most, shards.label(i));
  if (most >= MOST_CLASSES)
    throw new D2vError(`a sample of these shards is of class ${most}: classes are counted from 0`);
  return most < 0 ? undefined : Array.from({ length: most + 1 }, (_, number) => String(number));
}

function nothing(
  opened: readonly TarShards[],
  { name }: ShardContents,
  split: string,
  share: number,
  divided: boolean,
): D2vError {
  const total = opened.reduce((sum, { length }) => sum + length, 0);
  if (divided && total > 0) {
    return new D2vError(
      `${name}: of ${total} samples none falls into the ${split} part; set data.valid_path, or another data.valid_share than ${share}`,
    );
  }
  return new D2vError(`${name}: its shards hold no images`);
}
