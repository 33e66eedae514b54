import { defineConfig } from 'tsup';

export default defineConfig({
  entry: { index: 'src/index.ts', 'encode-thread': 'src/datasets/openwebtext/encode-thread.ts' },
  format: 'esm',
  target: 'node20',
  dts: { entry: { index: 'src/index.ts' } },
  sourcemap: true,
  clean: true,
});
