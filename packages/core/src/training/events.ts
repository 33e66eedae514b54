import type { StopReason } from './stop-rules.js';

/** What a run tells while it goes; `type` says which. */
export type TrainerEvent =
  | StartEvent
  | UpdateEvent
  | { type: 'log'; update: number; metrics: Record<string, number> }
  | { type: 'eval'; update: number; metrics: Record<string, number> }
  /** `path` is relative to the run folder. */
  | { type: 'checkpoint'; update: number; path: string; best: boolean; seconds: number }
  /** Something that takes a while, e.g. a download. */
  | { type: 'info'; message: string }
  | { type: 'warning'; message: string }
  | { type: 'stop'; reason: StopReason; message: string; update: number };

/** Once, before the first update. */
export interface StartEvent {
  type: 'start';
  runDir: string;
  /** The update that the run goes on from, or null for a new run. */
  resumedFrom: number | null;
  maxUpdate: number | null;
  /** Trainable numbers of the student. */
  parameters: number;
  modalities: string[];
  /** A line for the user per modality: what one update, one epoch and the run are made of. */
  effectiveBatch: string[];
  /** A line for the user: what the run needs and what there is. */
  memory: string;
  /** Of all modalities together. */
  samplesPerEpoch: number;
}

/** After every update. */
export interface UpdateEvent {
  type: 'update';
  update: number;
  modality: string;
  maxUpdate: number | null;
  /** 0 to 1, by whichever limit (updates or time) comes first; null without a limit. */
  progress: number | null;
  /** Per masked token; NaN if the update was skipped. */
  loss: number;
  lr: number;
  samplesPerSecond: number;
  etaSeconds: number | null;
}

export type TrainerListener = (event: TrainerEvent) => void;
