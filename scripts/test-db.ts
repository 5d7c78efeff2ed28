/** `npm run test:db`: the pgTAP files, on any Supabase database. */

import { databaseUrl, open, place } from './lib/database.ts'
import { type FileResult, runPgtap } from './lib/pgtap.ts'
import { Failure, main, readArguments, style } from './lib/terminal.ts'

const HELP = `
Usage: npm run test:db -- [--db-url <url>]

Runs the pgTAP files of supabase/tests on a migrated database, as \`supabase test db\` does without needing Docker. Each
file rolls back what it does; pgTAP is created for the time of the tests where it is missing.

Options:
  --db-url <url>  the database, as postgres (default: DATABASE_URL, then the Supabase CLI's local database)
  --help          this text

Exit code: 0 all passed, 1 not, 2 wrong use
`

function print({ file, passed, failed, complaints }: FileResult) {
  const mark = failed ? style('red', 'FAIL') : style('green', 'ok  ')
  process.stdout.write(`${mark} ${file} ${style('dim', `${passed + failed}`)}\n`)
  for (const line of complaints) process.stdout.write(`       ${line}\n`)
}

main(async () => {
  const { values } = readArguments(HELP, { 'db-url': { type: 'string' } })
  const url = databaseUrl(values['db-url'])
  const session = await open(url)
  const { rows } = await session.query("select to_regclass('cron.job') is not null as migrated")
  await session.end()
  if (!rows[0].migrated) throw new Failure(`${place(url)} is not migrated: run the migration first`)
  const results = await runPgtap(url, print)
  const sum = (count: (result: FileResult) => number) => results.reduce((total, result) => total + count(result), 0)
  const failed = sum((result) => result.failed)
  process.stdout.write(`\n${sum((result) => result.passed)} passed, ${failed} failed\n`)
  return failed ? 1 : 0
})
