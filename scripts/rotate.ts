/** `npm run rotate`: a new key into Vault: checked, tried, written, confirmed. */

import type pg from 'pg'
import { databaseUrl, open, place } from './lib/database.ts'
import { readKey } from './lib/input.ts'
import { type Job, nextTime, ownJobs, refuseWhileRunning, runCommand } from './lib/jobs.ts'
import { claims, describe, kind, problem } from './lib/keys.ts'
import { fieldsOf, longestWait, withKeyFrom } from './lib/template.ts'
import { Failure, main, readArguments, style } from './lib/terminal.ts'
import { logNothing, projectOf, readSecret, requireVault, writeSecrets } from './lib/vault.ts'

const HELP = `
Usage: npm run -s rotate -- [options] < file-with-the-key
       printf %s "$NEW_KEY" | npm run -s rotate -- [options]
       npm run -s rotate -- [options]                        asks for the key, without showing it

Gives the cron jobs a new key: checks it, tries it against their edge functions from the database, then writes it to the
one Vault row. Where a function refuses it or cannot be asked, the row stays as it is.

The key comes from standard input, else from SUPABASE_SERVICE_ROLE_KEY (or SERVICE_ROLE_KEY), else from a prompt; never
from an argument.

Options:
  --db-url <url>  the database, as postgres (default: DATABASE_URL, then the Supabase CLI's local database)
  --dry-run       stop before writing
  --no-try        do not call the functions; trying is one real run of each job
  --help          this text

Exit code: 0 the key is in Vault (or was already), 1 nothing was changed, 2 wrong use
`

const say = (text = '') => process.stdout.write(`${text}\n`)

/** Refuses, by name, a key that cannot work. @throws Failure */
function check(key: string, projectUrl: string | null | undefined): void {
  const bad = problem(key)
  if (bad) throw new Failure(`the new key cannot be the one the jobs send: ${bad}. Nothing was changed`)
  const { exp, ref } = claims(key) ?? {}
  if (exp !== undefined && exp * 1000 < Date.now())
    throw new Failure(`the new key expired on ${new Date(exp * 1000).toISOString().slice(0, 10)}. Nothing was changed`)
  const project = projectOf(projectUrl)
  if (ref !== undefined && project !== undefined && ref !== project)
    throw new Failure(`the new key is of project ${ref}, and project_url of ${project}. Nothing was changed`)
  if (kind(key) === 'opaque')
    say('  note: it is neither a JWT nor an sb_secret_ key. Trying it tells whether the functions take it.')
}

/** Whether a job's command comes from the template and sends this key. */
const sends = ({ command }: Job): boolean => fieldsOf(command)?.secret === 'service_role_key'

/** Runs one job with the new key. Resolves to what is wrong, undefined where its function answered 2xx. */
async function tryJob(url: string, job: Job, key: string): Promise<string | undefined> {
  const session = await open(url)
  try {
    await logNothing(session, 'session')
    await session.query("select set_config('rotate.key', $1, false)", [key])
    const { succeeded, message, more } = await runCommand(session, withKeyFrom('rotate.key', job.command) ?? '')
    return succeeded ? undefined : [message, ...more].join('\n      ')
  } finally {
    await session.end()
  }
}

/** Tries the key against the function of every active job of the migration's. @throws Failure where one fails */
async function tryKey(session: pg.Client, url: string, key: string): Promise<void> {
  const active: Job[] = []
  for (const job of await ownJobs(session)) {
    if (!job.command.includes('service_role_key')) continue
    if (!sends(job) || !withKeyFrom('rotate.key', job.command))
      say(`  ${job.jobname}: not tried, its command is not the migration's`)
    else if (!job.active) say(`  ${job.jobname}: not tried, it is paused`)
    else active.push(job)
  }
  if (active.length === 0)
    throw new Failure(
      "there is no active job of the migration's that sends service_role_key: nothing can try it. Run the migration, use --no-try, or, where your jobs read another Vault row, update that row by SQL (README). Nothing was changed"
    )
  for (const job of active) await refuseWhileRunning(session, job)
  say(
    `  trying it: one real run of ${active.map((job) => job.jobname).join(' and ')}, up to ${Math.max(...active.map(({ command }) => longestWait(command)))} s …`
  )
  const failures = await Promise.all(active.map((job) => tryJob(url, job, key)))
  for (const [at, job] of active.entries())
    say(
      `    ${failures[at] === undefined ? style('green', '✓') : style('red', '✗')} ${job.jobname}  ${failures[at] ?? '2xx'}`
    )
  const refused = failures.some((failure) => /: HTTP 40[13]\b/.test(failure ?? ''))
  if (refused) throw new Failure('the functions refuse the new key. Vault has the old one still: nothing was changed')
  if (failures.some((failure) => failure !== undefined))
    throw new Failure(
      'whether the functions take the new key could not be told. Vault has the old one still: nothing was changed. Mend what is above, or skip the trial with --no-try'
    )
}

main(async () => {
  const { values } = readArguments(HELP, {
    'db-url': { type: 'string' },
    'dry-run': { type: 'boolean' },
    'no-try': { type: 'boolean' }
  })
  const url = databaseUrl(values['db-url'])
  const session = await open(url)
  try {
    await requireVault(session)
    const { key, from } = await readKey('New service role key (not shown):')
    const old = await readSecret(session, 'service_role_key')
    const shown = old
      ? describe(old)
      : { undefined: 'none, the row is missing', null: 'unreadable', '': 'none, it is empty' }[`${old}`]
    say(`Vault of ${place(url)}`)
    say(`  now:  ${shown}`)
    if (key === old) {
      say('  The new key is the same: nothing to do.')
      return 0
    }
    say(`  new:  ${problem(key) ? 'refused' : describe(key)} (from ${from})`)
    check(key, await readSecret(session, 'project_url'))
    if (values['no-try']) say('  not tried, as you asked')
    else await tryKey(session, url, key)
    if (values['dry-run']) {
      say('Dry run: nothing was changed.')
      return 0
    }
    const done = await writeSecrets(session, { service_role_key: key })
    say(
      `${style('green', 'Rotated')}: service_role_key ${done.get('service_role_key')}, and read back as ${describe(key)}.`
    )
    for (const job of await ownJobs(session)) {
      const next = nextTime(job.schedule, Date.now())
      if (next && job.active && sends(job))
        say(`  ${job.jobname} runs next at ${new Date(next).toISOString().slice(0, 16)}Z`)
    }
    if (old)
      say(`When both have succeeded, revoke the old key (${describe(old)}): Dashboard > Project Settings > API Keys.`)
    return 0
  } finally {
    await session.end()
  }
})
