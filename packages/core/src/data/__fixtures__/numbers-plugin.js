// A modality in plain JavaScript, so that loader threads can import it without a build. A sample is its index and a
// random number. `data.faults` says how it misbehaves: {<index>: 'bad' | 'asset' | 'error' | 'exit' | 'hang' |
// 'throw-later'}; 'asset' is damage that tells the content of an asset.
import { z } from 'zod';

const bad = (file, reason) =>
  Object.assign(new Error(`${file}: ${reason}`), { name: 'BadSampleError', file, reason });

function open(data, length, names, assets) {
  if (data.faults?.open) throw Object.assign(new Error(data.faults.open), { name: 'D2vError' });
  return {
    length,
    name: 'numbers',
    describe: (index) => names?.[index] ?? `number ${index}`,
    async get(index, rng, mode) {
      const fault = data.faults?.[index];
      if (fault === 'bad') throw bad(`${index}.num`, 'made so');
      if (fault === 'asset') throw bad(`${index}.num`, new TextDecoder().decode(assets['note.txt']));
      if (fault === 'error') throw new Error('cable unplugged');
      if (fault === 'exit') process.exit(3);
      if (fault === 'hang') await new Promise(() => {});
      if (fault === 'throw-later') {
        setTimeout(() => {
          throw new Error('out of nowhere');
        }, 1);
        await new Promise(() => {});
      }
      const noise = mode === 'train' ? rng.uniform() : 0;
      // Later samples are ready sooner: order must not follow from who is first.
      await new Promise((resolve) => setTimeout(resolve, (index * 7) % 5));
      return {
        tensors: { source: { data: Float32Array.of(index, noise), shape: [2] } },
        label: index % 3,
        id: index,
      };
    },
  };
}

export default {
  name: 'numbers',
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: z.object({}),
  dataSchema: z.object({}),
  presets: { tiny: { description: 'none', config: {} } },
  datasets: {},
  supports: {},
  createEncoder() {
    throw new Error('not a real modality');
  },
  openData: async (data, { assets }) => open(data, data.length, undefined, assets),
  openInputs: async (paths, data) => open(data, paths.length, paths),
  collate(samples) {
    const data = new Float32Array(samples.length * 2);
    for (const [i, sample] of samples.entries()) data.set(sample.tensors.source.data, i * 2);
    return {
      size: samples.length,
      tensors: { source: { data, shape: [samples.length, 2] } },
      labels: Int32Array.from(samples, (sample) => sample.label),
      ids: samples.map((sample) => sample.id),
    };
  },
};
