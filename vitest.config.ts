import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['scripts/**/*.test.ts'],
    globalSetup: 'scripts/stack/testing.setup.ts',
    pool: 'forks',
    isolate: false, // each file loads the same few modules
    maxWorkers: 4,
    testTimeout: 30_000,
    hookTimeout: 30_000
  }
})
