import type { Assets, Batch, DataConfig, DataSplit, HostTensor } from '../modality/contract.js';
import type { BatchJob, LoadedBatch } from './load-batch.js';

/** How a loader thread opens its data: everything is plain data, so that it can be sent. */
export interface SourceSpec {
  /** `Modality.moduleUrl`. */
  moduleUrl: string;
  data: DataConfig;
  open:
    | { kind: 'data'; split: DataSplit; cacheDir: string; offline: boolean; assets?: Assets }
    | { kind: 'inputs'; paths: string[]; cacheDir: string; assets?: Assets };
  seed: number;
}

export type ToWorker = { type: 'load'; id: number; job: BatchJob } | { type: 'close' };

export type FromWorker =
  | { type: 'ready'; length: number }
  | { type: 'loaded'; id: number; result: LoadedBatch }
  /** `id` null: the thread could not start. `expected`: the message is for the user (a D2vError). */
  | { type: 'failed'; id: number | null; message: string; stack?: string; expected: boolean };

/**
 * The buffers of a batch, to be moved instead of copied. A view into a larger or shared buffer is copied first: moving
 * it would take away what belongs to others.
 */
export function detachable(batch: Batch): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const tensor of Object.values(batch.tensors)) buffers.add(ownBuffer(tensor));
  if (batch.labels) {
    if (!ownsBuffer(batch.labels)) batch.labels = batch.labels.slice();
    buffers.add(batch.labels.buffer as ArrayBuffer);
  }
  return [...buffers];
}

function ownBuffer(tensor: HostTensor): ArrayBuffer {
  if (!ownsBuffer(tensor.data)) tensor.data = tensor.data.slice();
  return tensor.data.buffer as ArrayBuffer;
}

function ownsBuffer(array: Float32Array | Int32Array | Uint8Array): boolean {
  return array.buffer instanceof ArrayBuffer && array.byteLength === array.buffer.byteLength;
}
