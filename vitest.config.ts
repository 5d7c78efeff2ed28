import { defineConfig } from 'vitest/config'

/** Files of cases that run on any Supabase database: `npm run test:supabase` runs them on the one that it is given. */
const ANY_DATABASE = ['runs', 'faults', 'rotate', 'run-job', 'leaks', 'doctor-command', 'pull'].map(
  (name) => `scripts/${name}.test.ts`
)

const named = process.env.TEST_SUPABASE !== undefined

export default defineConfig({
  test: {
    include: named ? ANY_DATABASE : ['scripts/**/*.test.ts'],
    globalSetup: named ? [] : 'scripts/stack/testing.setup.ts',
    pool: 'forks',
    isolate: false, // each file loads the same few modules
    fileParallelism: !named, // one database serves all files
    maxWorkers: named ? 1 : 4,
    testTimeout: 30_000,
    hookTimeout: named ? 60_000 : 30_000,
    expect: { poll: { timeout: 10_000 } }
  }
})
