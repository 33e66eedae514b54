import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'testing/index': 'src/testing/index.ts',
    'modality/discovery': 'src/modality/discovery.ts',
    'data/worker': 'src/data/worker.ts',
  },
  format: 'esm',
  target: 'node20',
  dts: {
    entry: {
      index: 'src/index.ts',
      'testing/index': 'src/testing/index.ts',
      'modality/discovery': 'src/modality/discovery.ts',
    },
  },
  // Optional ones are not left out by themselves; this one finds its binary beside its own files.
  external: ['lzma-native'],
  sourcemap: true,
  clean: true,
});
