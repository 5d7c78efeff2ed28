/** For tests: a folder of their own for temporary files, and what is left in it. */

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect } from 'vitest'
import { processes } from './testing.ts'

/** The only folder in which the stacks of a test file may leave something: pass it to them as TMPDIR. */
export function ownTemp(): string {
  const temp = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'leftovers-')))
  fs.chmodSync(temp, 0o777)
  afterAll(() => fs.rmSync(temp, { recursive: true, force: true }))
  return temp
}

/** Folders and processes that a stack in `temp` left. */
export function leftovers(temp: string): string[] {
  const files = fs.readdirSync(temp).filter((name) => !name.startsWith('tsx-')) // tsx keeps its cache
  return [...files, ...processes().filter((command) => command.includes(temp))]
}
/** Waits until nothing is left. */
export const nothingLeft = (temp: string) => expect.poll(() => leftovers(temp), { timeout: 10_000 }).toEqual([])
