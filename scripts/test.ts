/** `npm test`: the checks of this project, one after the other. The last line counts. */

import { main, readArguments } from './lib/terminal.ts'
import { check, heading, node, pgtap, prepare, script, sum, vitest } from './stack/steps.ts'

const HELP = `
Usage: npm test

Types, lint, vitest (on embedded stacks of its own), and every pgTAP file. The last line counts.

One file: npx vitest run scripts/runs.test.ts

Exit code: 0 all passed, 1 not, 2 wrong use
`

main(async () => {
  readArguments(HELP, {})
  await prepare()

  heading('types')
  await check('typescript/bin/tsc', '--project', '.')

  heading('lint')
  await check('@biomejs/biome/bin/biome', 'check')

  heading('vitest (and, meanwhile, pgTAP on a stack of its own)')
  const pgtapOnStack = node([...script('stack'), process.execPath, ...script('test-db')], true)
  await vitest()
  pgtap(await pgtapOnStack)
  return sum()
})
