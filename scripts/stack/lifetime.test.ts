/** Nothing is left behind, whatever ends a stack. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { leftovers, nothingLeft, ownTemp } from './leftovers.ts'
import { ROOT } from './stack.ts'

const temp = ownTemp()

const env = { ...process.env, TMPDIR: temp }

/** Starts a stack whose command says "ready" and then sleeps. */
async function sleeping(program: string, args: string[]): Promise<ChildProcess> {
  const child = spawn(program, [...args, '--empty', 'sh', '-c', 'echo ready; exec sleep 60'], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'pipe', 'ignore']
  })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  expect(leftovers(temp)).not.toEqual([])
  return child
}

test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('leaves nothing after %s', async (signal) => {
  const child = await sleeping(process.execPath, ['--import', 'tsx/esm', 'scripts/stack.ts'])
  child.kill(signal)
  await nothingLeft(temp)
})

test('leaves nothing after SIGKILL of the npm that started it', async () => {
  const child = await sleeping('npm', ['run', '-s', 'stack', '--'])
  child.kill('SIGKILL')
  await nothingLeft(temp)
})

test.each([500, 1500])('leaves nothing after SIGKILL %i ms into its start', async (ms) => {
  const args = ['--import', 'tsx/esm', 'scripts/stack.ts', 'sleep', '60'] // at 1500 ms the CLI is migrating
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: 'ignore' })
  await new Promise((resolve) => setTimeout(resolve, ms))
  child.kill('SIGKILL')
  await nothingLeft(temp)
})
