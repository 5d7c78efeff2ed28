/** `npm run run-job`: a job's own command, now. */

import { databaseUrl, open, place } from './lib/database.ts'
import { findJob, runCommand } from './lib/jobs.ts'
import { longestWait } from './lib/template.ts'
import { Failure, main, readArguments, style } from './lib/terminal.ts'

const HELP = `
Usage: npm run run-job -- <jobname> [--db-url <url>]

Runs the job's own command now, in a session of its own, and shows the verdict. This is a real call of the edge function.
It does not appear in cron.job_run_details: pg_cron did not run it.

Options:
  --db-url <url>  the database, as postgres (default: DATABASE_URL, then the Supabase CLI's local database)
  --help          this text

Exit code: 0 the run succeeded, 1 it failed, 2 wrong use

Example:
  npm run run-job -- odoo-crm-sync-incremental
`

main(async () => {
  const { values, positionals } = readArguments(HELP, { 'db-url': { type: 'string' } }, 1)
  const [name] = positionals
  if (name === undefined) throw new Failure(`name one job\n\n${HELP.trim()}`, 2)
  const url = databaseUrl(values['db-url'])
  const session = await open(url)
  try {
    const job = await findJob(session, name)
    process.stdout.write(`${name} on ${place(url)}: running (up to ${longestWait(job.command)} s) …\n`)
    const began = Date.now()
    const { succeeded, message, more } = await runCommand(session, job.command)
    const seconds = `${((Date.now() - began) / 1000).toFixed(1)} s`
    const verdict = succeeded ? style('green', 'succeeded') : style('red', 'failed')
    process.stdout.write(`${verdict} after ${seconds}${message && `: ${message}`}\n`)
    for (const line of more) process.stdout.write(`  ${line}\n`)
    return succeeded ? 0 : 1
  } finally {
    await session.end()
  }
})
