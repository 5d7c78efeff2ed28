/** What `npm test` and `npm run test:supabase` have in common: programs run one after the other, and their results added up. */

import { type ChildProcess, spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { style } from '../lib/terminal.ts'
import { endWithNpm, temporaryFolder } from './lifetime.ts'

const began = Date.now()
const running = new Set<ChildProcess>()
let passed = 0
let failed = 0

/** Makes a temporary folder (TMPDIR) for all steps. They end when this process does. */
export async function prepare(): Promise<void> {
  endWithNpm()
  process.env.TMPDIR = await temporaryFolder()
  process.on('exit', () => {
    for (const child of running) child.kill()
  })
}

export function heading(text: string): void {
  const seconds = ((Date.now() - began) / 1000).toFixed(0)
  process.stdout.write(`\n${style('bold', text)} ${style('dim', `${seconds} s`)}\n`)
}

/** Runs a Node program; resolves to its exit code and, where `keep` is set, to what it printed, which is not shown then. */
export function node(args: string[], keep = false): Promise<{ code: number; out: string }> {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', keep ? 'pipe' : 'inherit', keep ? 'pipe' : 'inherit']
  })
  running.add(child)
  child.once('close', () => running.delete(child))
  let out = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      out += chunk
    })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, out }))
  })
}

/** The arguments that run one of this project's scripts. */
export const script = (name: string): string[] => ['--import', 'tsx/esm', `scripts/${name}.ts`]

/** Runs a program of node_modules as one check: it passes with exit code 0. */
export async function check(program: string, ...args: string[]): Promise<void> {
  const { code } = await node([path.join('node_modules', program), ...args])
  code ? failed++ : passed++
}

/** Runs vitest, and counts its tests. */
export async function vitest(): Promise<void> {
  const file = path.join(process.env.TMPDIR ?? '', 'results.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  const { code } = await node(['node_modules/vitest/vitest.mjs', 'run', ...reporters])
  const results = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {}
  passed += results.numPassedTests ?? 0
  failed += Math.max(code ? 1 : 0, results.numFailedTests ?? 0)
}

/** Shows what `npm run test:db` printed, and counts its tests. */
export function pgtap({ code, out }: { code: number; out: string }): void {
  heading('pgTAP')
  process.stdout.write(out)
  const [, good = '0', bad = '0'] = /(\d+) passed, (\d+) failed\s*$/.exec(out) ?? []
  passed += Number(good)
  failed += Math.max(code ? 1 : 0, Number(bad))
}

/** Prints the sum of all steps; the exit code. */
export function sum(): number {
  heading('all')
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  return failed ? 1 : 0
}
