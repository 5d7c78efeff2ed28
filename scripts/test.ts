/** `npm test` and `npm run test:debian`: the checks of this project, one after the other. The last line counts. */

import { type ChildProcess, spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { main, readArguments, style } from './lib/terminal.ts'
import { engine, engineNamed } from './stack/engines.ts'
import { endWithNpm, temporaryFolder } from './stack/lifetime.ts'

const HELP = `
Usage: npm test               types, lint, vitest (on embedded stacks of its own), and every pgTAP file
       npm run test:debian    on Debian's PostgreSQL 15: every pgTAP file, and every outcome of a run at the real times of
                              the real pg_cron, beside its stand-in; takes three to five minutes

The last line counts. One file: npx vitest run scripts/runs.test.ts

Exit code: 0 all passed, 1 not, 2 wrong use or packages missing
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
  const { values } = readArguments(HELP, { engine: { type: 'string', default: 'npm' } })
  const debian = engineNamed(values.engine) === 'debian'
  if (debian) await engine('debian') // or says what to install
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

  if (!debian) {
    heading('types')
    check(await run(...node(bin('typescript/bin/tsc'), '--project', '.')))

    heading('lint')
    check(await run(...node(bin('@biomejs/biome/bin/biome'), 'check')))
  }

  heading('vitest (and, meanwhile, pgTAP on a stack of its own)')
  const tsx = (script: string) => ['--import', 'tsx/esm', `scripts/${script}.ts`]
  const pgtap = run(...node(...tsx('stack'), '--engine', values.engine, process.execPath, ...tsx('test-db')), true)
  const file = path.join(process.env.TMPDIR, 'results.json')
  process.env.TEST_ENGINE = values.engine
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
