import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { D2vError } from '../errors.js';

/** Of `trainer.json`. */
export const FORMAT = 2;

const count = z.int().min(0);

const partSchema = z.object({
  /** Where the order of samples stands. */
  position: z.object({
    epoch: count,
    offset: count,
    cut: z.object({ worldSize: count, updateFreq: count }).optional(),
  }),
  badSamples: z.object({ tried: count, met: count, indices: z.array(count) }),
});

/** What is remembered of one modality's part of a run. */
export type PartState = z.output<typeof partSchema>;

const lossesSchema = z.object({
  recent: z.array(z.number()),
  best: z.object({ loss: z.number(), update: count }).nullable(),
});

/**
 * Everything that a run needs besides tensors and its config to go on as if it had not stopped. Random numbers need no
 * entry: they follow from seed, update and position.
 */
export const trainerStateSchema = z.object({
  format: z.literal(FORMAT),
  update: count,
  samples: count,
  /** By modality. */
  parts: z.record(z.string(), partSchema),
  /** Wall time of all processes of the run. */
  seconds: z.number().min(0),
  adamSteps: z.record(z.string(), count),
  meters: z.record(z.string(), z.tuple([z.number(), z.number()])),
  /** By modality. */
  stop: z.record(z.string(), lossesSchema),
  /** `inRow` by modality. */
  nonFinite: z.object({ skipped: count, inRow: z.record(z.string(), count) }),
  best: z.object({ metric: z.string(), value: z.number(), update: count }).nullable(),
  /** What the last digits depend on. */
  machine: z.object({ device: z.string(), isa: z.string(), gemm: z.string(), threads: count }),
});

export type TrainerState = z.output<typeof trainerStateSchema>;

/** Reads `trainer.json`. @throws D2vError if it is missing or damaged, or of another version */
export async function readTrainerState(path: string): Promise<TrainerState> {
  let format: unknown;
  try {
    const value = JSON.parse(await readFile(path, 'utf8')) as { format?: unknown };
    format = value.format;
    return trainerStateSchema.parse(value);
  } catch (error) {
    if (typeof format === 'number' && format !== FORMAT) {
      throw new D2vError(
        `${path} has format ${format}, this @d2v/core goes on from format ${FORMAT}: use the version that the run was made with`,
      );
    }
    throw new D2vError(`${path} is missing or damaged; resume from another checkpoint`, { cause: error });
  }
}
