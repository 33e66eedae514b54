/**
 * What is measured, by modality and preset: a new modality adds an entry here and its model to `peers/`. Workloads pin
 * every size that the number of FLOPs depends on, so that figures stay comparable between commits when a preset is tuned.
 */
import { audio } from './audio.js';
import { image } from './image.js';
import { text } from './text.js';
import type { ModalityWorkloads } from './types.js';

export type { ModalityWorkloads, Workload } from './types.js';

export const workloads: Record<string, ModalityWorkloads> = { image, audio, text };
