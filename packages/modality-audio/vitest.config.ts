import { defineConfig } from 'vitest/config';

// Decoders are WebAssembly that is compiled on first use: seconds on a busy machine.
export default defineConfig({ test: { testTimeout: 30_000 } });
