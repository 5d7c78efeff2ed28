import { defineConfig } from 'vitest/config'

/** Set by `npm run test:debian`. */
const debian = process.env.TEST_ENGINE === 'debian'

export default defineConfig({
  test: {
    include: [debian ? 'scripts/debian.test.ts' : 'scripts/**/!(debian).test.ts'],
    globalSetup: 'scripts/stack/testing.setup.ts',
    pool: 'forks',
    isolate: false, // each file loads the same few modules
    maxWorkers: 4,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    expect: { poll: { timeout: 10_000 } }
  }
})
