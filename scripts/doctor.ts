/** `npm run doctor`: is the sync healthy, and if not, what to type. */

import { examine, type Finding, type JobRuns, type Level, type Report } from './lib/checks.ts'
import { databaseUrl, open } from './lib/database.ts'
import { main, readArguments, style } from './lib/terminal.ts'

const HELP = `
Usage: npm run -s doctor -- [--db-url <url>] [--json]

Looks at everything that the cron jobs need, and at where a key may have leaked; changes nothing. Findings are ok, warning
or failure, with the statement or command that mends them. A failure means that a sync did not or will not run
authenticated, or that the present key stands somewhere else than in Vault.

Options:
  --db-url <url>  the database (default: DATABASE_URL, then the Supabase CLI's local database)
  --json          {database, healthy, findings: [{group, check, level, title, expected?, actual?, mend?}],
                   runs: [{job, runs: [{status, at, reason}], lastSuccess, lastFailure: {at, reason}}]}
  --help          this text

Exit code: 0 no failure (there may be warnings), 1 a failure, 2 wrong use
`

const MARKS: Record<Level, string> = {
  ok: style('green', '✓'),
  warning: style('yellow', '!'),
  failure: style('red', '✗'),
  unseen: style('dim', '?')
}
const HEADINGS = {
  database: 'Database',
  vault: 'Vault',
  jobs: 'Jobs',
  runs: 'Runs',
  responses: 'Responses of pg_net',
  leaks: 'Keys outside Vault'
}

const say = (text = '') => process.stdout.write(`${text}\n`)

function show({ level, title, expected, actual, mend }: Finding) {
  say(`  ${MARKS[level]} ${level === 'unseen' ? `could not see: ${title}` : title}`)
  for (const [name, text] of Object.entries({ expected, actual, mend }))
    if (text) say(`      ${style('dim', `${name}:`.padEnd(9))} ${text}`)
}

function showRuns({ job, runs, lastSuccess, lastFailure }: JobRuns) {
  const marks = runs
    .map(({ status }) => (status === 'succeeded' ? MARKS.ok : status === 'failed' ? MARKS.failure : '…'))
    .join('')
  say(`    ${job}  ${marks || '(no runs)'}`)
  say(style('dim', `      last success: ${lastSuccess ?? 'never'}`))
  if (lastFailure) say(style('dim', `      last failure: ${lastFailure.at ?? '?'}  ${lastFailure.reason}`))
}

function print({ database, findings, runs }: Report, named: boolean) {
  say(`Doctor of ${database}`)
  for (const [group, heading] of Object.entries(HEADINGS)) {
    const own = findings.filter((finding) => finding.group === group)
    if (own.length === 0) continue
    say(`\n${style('bold', heading)}`)
    if (group === 'runs') for (const job of runs) showRuns(job)
    for (const finding of own) show(finding)
  }
  if (named && findings.some(({ mend }) => mend?.includes('npm run')))
    say('\nGive the npm commands above the same --db-url.')
  const count = (level: Level) => findings.filter((finding) => finding.level === level).length
  const [failures, warnings, unseen] = [count('failure'), count('warning'), count('unseen')]
  const verdict = failures ? style('red', 'Not healthy') : style('green', 'Healthy')
  const counted = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`
  const seen = unseen ? `, ${unseen} not seen` : ''
  say(`\n${verdict}: ${counted(failures, 'failure')}, ${counted(warnings, 'warning')}${seen}.`)
}

main(async () => {
  const { values } = readArguments(HELP, { 'db-url': { type: 'string' }, json: { type: 'boolean' } })
  const url = databaseUrl(values['db-url'])
  const session = await open(url)
  try {
    const report = await examine(session, url)
    const healthy = !report.findings.some(({ level }) => level === 'failure')
    if (values.json) say(JSON.stringify({ healthy, ...report }, null, 2))
    else print(report, values['db-url'] !== undefined)
    return healthy ? 0 : 1
  } finally {
    await session.end()
  }
})
