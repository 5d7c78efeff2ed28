import { expect, test } from 'vitest'
import { script } from '../stack/testing.ts'

test.each(['seed', 'rotate', 'run-job', 'test-db', 'demo', 'stack'])('%s --help says how it is used', async (name) => {
  expect(await script(name, ['--help'])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^Usage: npm run /),
    err: ''
  })
})
