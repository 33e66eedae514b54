import { defineConfig } from 'vitest/config';

// The end-to-end tests start real processes: a few at a time, with time to spare on a busy machine.
export default defineConfig({ test: { maxWorkers: 2, testTimeout: 120_000, hookTimeout: 180_000 } });
