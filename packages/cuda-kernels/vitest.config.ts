import { defineConfig } from 'vitest/config';

// The kernels use every core: test files that run at once only wait for each other's threads.
export default defineConfig({
  test: { include: ['src/**/*.test.ts'], fileParallelism: false, testTimeout: 60_000 },
});
