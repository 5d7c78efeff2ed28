/** `npm test`: types, lint, vitest, and every pgTAP file on a stack of its own. The last line counts. */

import { type ChildProcess, spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { main, readArguments, style } from './lib/terminal.ts'
import { endWithNpm, temporaryFolder } from './stack/lifetime.ts'

const HELP = `
Usage: npm test

Types, lint, vitest (on embedded stacks of its own), and every pgTAP file. The last line counts.
One file: npx vitest run scripts/runs.test.ts

Exit code: 0 all passed, 1 not, 2 wrong use
`

const began = Date.now()
const running = new Set<ChildProcess>()

/** Runs a program; resolves to its exit code and, where `keep` is set, to what it printed, which is not shown then. */
function run(program: string, args: string[], keep = false): Promise<{ code: number; out: string }> {
  const child = spawn(program, args, { stdio: ['ignore', keep ? 'pipe' : 'inherit', keep ? 'pipe' : 'inherit'] })
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

const node = (...args: string[]) => [process.execPath, args] as const
const bin = (name: string) => path.join('node_modules', name)

function heading(text: string) {
  const seconds = ((Date.now() - began) / 1000).toFixed(0)
  process.stdout.write(`\n${style('bold', text)} ${style('dim', `${seconds} s`)}\n`)
}

main(async () => {
  readArguments(HELP, {})
  endWithNpm()
  process.env.TMPDIR = await temporaryFolder()
  process.on('exit', () => {
    for (const child of running) child.kill()
  })
  let passed = 0
  let failed = 0
  const count = (good: number, bad: number) => {
    passed += good
    failed += bad
  }
  const check = ({ code }: { code: number }) => (code ? count(0, 1) : count(1, 0))

  heading('types')
  check(await run(...node(bin('typescript/bin/tsc'), '--project', '.')))

  heading('lint')
  check(await run(...node(bin('@biomejs/biome/bin/biome'), 'check')))

  heading('vitest (and, meanwhile, pgTAP on a stack of its own)')
  const tsx = (script: string) => ['--import', 'tsx/esm', `scripts/${script}.ts`]
  const pgtap = run(...node(...tsx('stack'), process.execPath, ...tsx('test-db')), true)
  const file = path.join(process.env.TMPDIR, 'results.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  const vitest = await run(...node(bin('vitest/vitest.mjs'), 'run', ...reporters))
  const results = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {}
  const { numPassedTests = 0, numFailedTests = 0 } = results
  count(numPassedTests, vitest.code ? Math.max(1, numFailedTests) : numFailedTests)

  heading('pgTAP')
  const { code, out } = await pgtap
  process.stdout.write(out)
  const [, good = '0', bad = '0'] = /(\d+) passed, (\d+) failed\s*$/.exec(out) ?? []
  count(Number(good), code ? Math.max(1, Number(bad)) : Number(bad))

  heading('all')
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  return failed ? 1 : 0
})
