import { defineConfig } from 'vitest/config';

// Encoding test pictures in a dozen formats takes seconds on a busy machine.
export default defineConfig({ test: { testTimeout: 30_000 } });
