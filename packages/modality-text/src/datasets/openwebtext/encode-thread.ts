/** Entry of an encoder thread: builds the tokenizer once, then answers jobs one after the other, in order. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { makeTokenizer } from '../../tokenizer/open.js';
import { encodeJob } from './encode.js';
import type { EncoderSpec, FromEncoder, ToEncoder } from './encoder-pool.js';

function serve(port: MessagePort, { files, label, validShare }: EncoderSpec): void {
  const tokenizer = makeTokenizer(files, label);
  let previous: Promise<void> = Promise.resolve();
  port.on('message', (message: ToEncoder) => {
    previous = previous.then(async () => {
      if (message.type === 'close') {
        port.close();
        return;
      }
      try {
        const result = await encodeJob(message.job, { tokenizer, validShare });
        const arrays = Object.values(result.parts).flatMap(({ tokens, items }) => [tokens, items]);
        const reply: FromEncoder = { type: 'encoded', id: message.id, result };
        port.postMessage(
          reply,
          arrays.map(({ buffer }) => buffer),
        );
      } catch (error) {
        const { message: text = String(error), stack, name = '' } = error as Partial<Error>;
        const expected = name === 'D2vError' || name === 'ArchiveError';
        const reply: FromEncoder = { type: 'failed', id: message.id, message: text, stack, expected };
        port.postMessage(reply);
      }
    });
  });
}

if (parentPort) serve(parentPort, workerData as EncoderSpec);
