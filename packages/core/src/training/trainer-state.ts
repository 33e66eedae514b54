import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { D2vError } from '../errors.js';

const count = z.int().min(0);

/**
 * Everything that a run needs besides tensors and its config to go on as if it had not stopped. Random numbers need no
 * entry: they follow from seed, update and position.
 */
export const trainerStateSchema = z.object({
  format: z.literal(1),
  update: count,
  samples: count,
  /** Where the order of samples stands. */
  position: z.object({ epoch: count, offset: count }),
  /** Wall time of all processes of the run. */
  seconds: z.number().min(0),
  adamSteps: z.record(z.string(), count),
  meters: z.record(z.string(), z.tuple([z.number(), z.number()])),
  stop: z.object({
    recent: z.array(z.number()),
    best: z.object({ loss: z.number(), update: count }).nullable(),
  }),
  nonFinite: z.object({ skipped: count, inRow: count }),
  badSamples: z.object({ tried: count, met: count, indices: z.array(count) }),
  best: z.object({ metric: z.string(), value: z.number(), update: count }).nullable(),
  /** What the last digits depend on. */
  machine: z.object({ device: z.string(), isa: z.string(), gemm: z.string(), threads: count }),
});

export type TrainerState = z.output<typeof trainerStateSchema>;

/** Reads `trainer.json`. @throws D2vError if it is missing or damaged */
export async function readTrainerState(path: string): Promise<TrainerState> {
  try {
    return trainerStateSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    throw new D2vError(`${path} is missing or damaged; resume from another checkpoint`, { cause: error });
  }
}
