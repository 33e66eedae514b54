import type { Batch, Modality, RunConfig } from '@d2v/core';
import type { UpdateShape } from '../flops.js';

export interface Workload {
  preset: string;
  /** Settings over the preset's. */
  set: string[];
  /** Settings over those on a GPU: batches of the size that it needs to be busy. */
  onGpu: string[];
  /** Updates before measuring, and measured in each of the rounds. */
  warmup: number;
  perRound: number;
  rounds: number;
  /** A batch of random input, already in memory. */
  batch(config: RunConfig, seed: number): Batch;
  /** The first part of every sample of a batch; absent where all samples are of one shape. */
  shorten?: (batch: Batch, share: number) => Batch;
  /** @param kept tokens that the student sees of a row, the mean over the measured updates */
  shape(config: RunConfig, kept: number): UpdateShape;
  /** Writes samples as a user would have them, for measuring the time that updates wait for data. */
  writeSamples(folder: string): Promise<void>;
  /** What the same model in PyTorch must report as its configuration, or the comparison is worth nothing. */
  peerConfig(config: RunConfig): Record<string, unknown>;
}

export interface ModalityWorkloads {
  load(): Promise<Modality>;
  presets: readonly Workload[];
}
