/** Entry of a loader thread: opens the data through the plugin, then answers jobs one after the other, in order. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { importModality } from '../modality/registry.js';
import { loadBatch } from './load-batch.js';
import { openSource } from './open-source.js';
import { detachable, type FromWorker, type SourceSpec, type ToWorker } from './protocol.js';

async function serve(port: MessagePort, spec: SourceSpec): Promise<void> {
  const modality = await importModality(spec.moduleUrl);
  const source = await openSource(modality, spec);
  const from = { source, modality, data: spec.data, seed: spec.seed };
  let previous: Promise<void> = Promise.resolve();
  port.on('message', (message: ToWorker) => {
    previous = previous.then(async () => {
      if (message.type === 'close') {
        await source.close?.();
        port.close();
        return;
      }
      try {
        const result = await loadBatch(message.job, from);
        send(port, { type: 'loaded', id: message.id, result }, result.batch ? detachable(result.batch) : []);
      } catch (error) {
        send(port, failure(message.id, error));
      }
    });
  });
  send(port, { type: 'ready', length: source.length });
}

function send(port: MessagePort, message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function failure(id: number | null, error: unknown): FromWorker {
  const { message = String(error), stack, name } = (error ?? {}) as Partial<Error>;
  return { type: 'failed', id, message, stack, expected: name === 'D2vError' };
}

if (parentPort) {
  const port = parentPort;
  serve(port, workerData as SourceSpec).catch((error: unknown) => {
    send(port, failure(null, error));
    port.close();
  });
}
