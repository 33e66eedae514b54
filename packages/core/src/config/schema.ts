/**
 * The run configuration: one schema for YAML files, command-line flags and TypeScript, put together from the sections
 * and from what the modalities of the run add.
 */
import { z } from 'zod';
import { modelConfigSchema } from '../data2vec/config.js';
import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';
import { objectShape, unwrap } from './introspect.js';
import type { AnyConfig } from './joint.js';
import {
  batchLength,
  checkpointSchema,
  commonSchema,
  dataSchema,
  evalSchema,
  lrSchedulerSchema,
  optimizationSchema,
  optimizerSchema,
  stopSchema,
} from './sections.js';

/** Keys of `eval` that speak of a run as a whole; the others are a modality's own in a run of several. */
const evalOfRun = { interval_updates: evalSchema.shape.interval_updates, report: evalSchema.shape.report };
const evalOfModality = evalSchema.omit({ interval_updates: true, report: true });

const preset = z
  .string()
  .nullable()
  .default(null)
  .describe('the starting point that these settings were laid over');

/** The sections after `data`, in the order in which they are printed; only `eval` depends on the modalities. */
const sections = <S extends z.ZodType>(evaluation: S) => ({
  optimization: optimizationSchema.prefault({}).describe('how long and how fast'),
  optimizer: optimizerSchema.prefault({}).describe('the update rule'),
  lr_scheduler: lrSchedulerSchema.prefault({}).describe('learning rate over time'),
  checkpoint: checkpointSchema.prefault({}).describe('what is saved and kept in the run folder'),
  stop: stopSchema.prefault({}).describe('reasons to end before max_update'),
  eval: evaluation,
  common: commonSchema.prefault({}).describe('seed, device, logging'),
});

/** What the sections divided by modality are for. */
const about = {
  modalities: 'feature encoder, masking and decoder of each modality',
  model: 'student, teacher and targets',
  data: 'where samples come from and how they are loaded',
  eval: 'quality of frozen features, measured with labels',
};

/** The schema before a modality adds its own keys. */
export const baseRunConfigSchema = z.strictObject({
  modality: z.string().min(1),
  preset,
  model: modelConfigSchema.prefault({}),
  data: dataSchema.prefault({}),
  ...sections(evalSchema.prefault({})),
});

export type RunConfig = z.output<typeof baseRunConfigSchema>;
export type RunConfigInput = z.input<typeof baseRunConfigSchema>;
/** The `data` section: the keys every modality has. */
export type DataConfig = RunConfig['data'];

const byModality = new WeakMap<z.ZodType, string[]>();

/** The modalities of a section with one part for each; undefined for other schemas. */
export const dividedBetween = (schema: z.ZodType): string[] | undefined => byModality.get(unwrap(schema));

/** A section with one part per modality, and keys of all. */
function divided<S extends z.ZodType>(
  modalities: readonly Modality[],
  part: (modality: Modality) => S,
  more: Record<string, z.ZodType> = {},
) {
  const parts = modalities.map((modality) => [modality.name, part(modality)] as const);
  const section = z.strictObject({ ...more, ...Object.fromEntries(parts) });
  byModality.set(
    section,
    parts.map(([name]) => name),
  );
  return section.prefault({});
}

const modelOf = (modalities: readonly Modality[]) =>
  modelConfigSchema
    .extend({
      modalities: divided(modalities, ({ name, configSchema }) =>
        (configSchema as z.ZodObject).prefault({}).describe(`the ${name} encoder`),
      ).describe(about.modalities),
    })
    .strict()
    .prefault({})
    .describe(about.model);

const dataOf = ({ dataSchema: own, sizeUnit }: Modality) =>
  dataSchema
    .extend({ batch_length: batchLength(sizeUnit) })
    .extend(objectShape(own) ?? {})
    .prefault({});

const singleSchema = (modality: Modality) =>
  z.strictObject({
    modality: z.literal(modality.name).describe('name of an installed modality plugin'),
    preset,
    model: modelOf([modality]),
    data: dataOf(modality).describe(about.data),
    ...sections(evalSchema.prefault({}).describe(about.eval)),
  });

const jointSchema = (modalities: readonly Modality[]) =>
  z.strictObject({
    modalities: z
      .tuple(modalities.map(({ name }) => z.literal(name)) as unknown as [z.ZodType])
      .describe('names of installed modality plugins: one model for all, each update of one of them'),
    preset,
    joint: z
      .strictObject({
        ratios: divided(modalities, () => z.number().gt(0).default(1)).describe(
          'share of updates by modality, relative to the others',
        ),
      })
      .prefault({})
      .describe('how the modalities share the run'),
    model: modelOf(modalities),
    data: divided(modalities, (modality) => dataOf(modality).describe(`the ${modality.name} data`)).describe(
      `${about.data}, by modality`,
    ),
    ...sections(
      divided(
        modalities,
        ({ name }) => evalOfModality.prefault({}).describe(`features of ${name}`),
        evalOfRun,
      ).describe(`${about.eval}, by modality`),
    ),
  });

const cache = new WeakMap<Modality, z.ZodType<RunConfig>>();

/**
 * The full schema of a run: with the modality's own keys under `model.modalities.<name>` and in `data`. With several
 * modalities, `data` and `eval` are divided, too; a list of one is that one.
 */
export function runConfigSchema(modality: Modality): z.ZodType<RunConfig>;
export function runConfigSchema(modalities: Modality | readonly Modality[]): z.ZodType<AnyConfig>;
export function runConfigSchema(given: Modality | readonly Modality[]): z.ZodType<AnyConfig> {
  const [first, ...others] = [given].flat() as Modality[];
  if (!first) throw new D2vError('a run needs a modality');
  if (others.length > 0) return jointSchema([first, ...others]) as unknown as z.ZodType<AnyConfig>;
  const known = cache.get(first);
  if (known) return known;
  const schema = singleSchema(first) as unknown as z.ZodType<RunConfig>;
  cache.set(first, schema);
  return schema;
}
