/** `npm run demo`: the whole story on the embedded stack. Every line it prints comes from the database or the functions. */

import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { connect } from './lib/database.ts'
import { describe } from './lib/keys.ts'
import { main, readArguments, style } from './lib/terminal.ts'
import { writeSecrets } from './lib/vault.ts'
import { legacyKey, secretKey } from './stack/keys.ts'
import { endWithNpm } from './stack/lifetime.ts'
import { search } from './stack/search.ts'
import { migrate, type Stack, startStack } from './stack/stack.ts'

const HELP = `
Usage: npm run demo

Two cron jobs call two edge functions: as production did it for five days, then with these migrations. Runs on a throw-away
PostgreSQL with stand-ins of pg_cron, pg_net, Vault and the functions; the Supabase CLI applies the migrations.

Exit code: 0 all went as told, 1 not
`

const JOBS = [
  {
    name: 'odoo-crm-sync-incremental',
    schedule: '*/15 * * * *',
    function: 'odoo-crm-sync',
    body: { mode: 'incremental' }
  },
  { name: 'odoo-chatter-sync-hourly', schedule: '0 * * * *', function: 'odoo-chatter-sync', body: { mode: 'missing' } }
]

let surprises = 0
const say = (text = '') => process.stdout.write(`${text}\n`)

/** A line of evidence with its mark; what is not as told counts. */
function show(asTold: boolean, text: string) {
  if (!asTold) surprises++
  say(`  ${asTold ? style('green', '✓') : style('red', '✗ not as told:')} ${text}`)
}

let step = 0
function tell(title: string, ...explanation: string[]) {
  say(`\n${style('bold', `${++step}. ${title}`)}`)
  for (const line of explanation) say(style('dim', `   ${line}`))
}

/** Starts both jobs, waits for their runs, and shows what cron.job_run_details and the functions say of them. */
async function run(stack: Stack, db: pg.Client, status: string, message: RegExp, answer: number | undefined) {
  stack.functions.calls.length = 0
  const { rows: jobs } = await db.query('select jobid, jobname from cron.job order by jobid')
  const before = (await db.query('select coalesce(max(runid), 0) as last from cron.job_run_details')).rows[0].last
  for (const job of jobs) stack.scheduler.runNow(job.jobid)
  let runs: { jobname: string; status: string; return_message: string }[] = []
  do {
    await sleep(20)
    runs = (
      await db.query(
        `select jobname, status, return_message from cron.job_run_details join cron.job using (jobid)
         where runid > $1 and end_time is not null order by jobid`,
        [before]
      )
    ).rows
  } while (runs.length < jobs.length)
  // Before the migration a run ends before its call does.
  for (
    let waited = 0;
    answer !== undefined && stack.functions.calls.filter((call) => call.status).length < jobs.length;
    waited += 20
  ) {
    if (waited > 5000) break
    await sleep(20)
  }

  say(style('dim', '  cron.job_run_details:'))
  for (const run of runs) {
    const [first, second] = run.return_message.trim().split('\n')
    const reason =
      run.status === 'failed' ? [first, second?.startsWith('DETAIL') ? second : ''].join('  ').trim() : first
    const shown = run.status === 'failed' ? style('red', run.status.padEnd(9)) : style('green', run.status.padEnd(9))
    show(run.status === status && message.test(reason ?? ''), `${run.jobname.padEnd(25)}  ${shown}  ${reason}`)
  }
  say(style('dim', '  what the functions saw:'))
  for (const call of stack.functions.calls.sort((a, b) => b.function.localeCompare(a.function)))
    show(call.status === answer, `${call.function.padEnd(25)}  ${`${call.status}`.padEnd(9)}  with the ${call.key}`)
  if (stack.functions.calls.length === 0) show(answer === undefined, 'nothing: no request was sent')
}

async function demo(stack: Stack) {
  const db = await connect(stack.url)
  const stale = legacyKey()
  const key = stack.functions.key
  say(
    `PostgreSQL ${(await db.query('show server_version')).rows[0].server_version} with stand-ins of pg_cron, pg_net and Vault.`
  )
  say(
    'Keys are shown by kind and fingerprint (first 8 hex digits of the SHA-256). Jobs are started now, not at their times.'
  )

  tell(
    'Production as it was',
    'The key is a literal in both commands, and it is stale: the functions have taken another one',
    `for five days (${describe(key)}).`
  )
  await db.query('create extension pg_cron; create extension pg_net with schema extensions')
  for (const job of JOBS)
    await db.query('select cron.schedule($1, $2, $3)', [
      job.name,
      job.schedule,
      `select net.http_post(
        url := '${stack.functions.url}/functions/v1/${job.function}',
        headers := '{"Content-Type": "application/json", "Authorization": "Bearer ${stale}"}'::jsonb,
        body := '${JSON.stringify(job.body)}'::jsonb)`
    ])
  await run(stack, db, 'succeeded', /^1 row$/, 401)

  tell('The migrations', 'supabase migration up, by the Supabase CLI.')
  const jobids = 'select jsonb_object_agg(jobname, jobid) as ids from cron.job'
  const before = (await db.query(jobids)).rows[0].ids
  const keyed = `select count(*)::int as n from cron.job_run_details where command like '%Bearer ' || $1 || '%'`
  const had = (await db.query(keyed, [stale])).rows[0].n
  await migrate(stack.server)
  show(JSON.stringify((await db.query(jobids)).rows[0].ids) === JSON.stringify(before), 'both jobs kept their ids')
  const has = (await db.query(keyed, [stale])).rows[0].n
  show(had === 2 && has === 0, `runs in the history that hold the stale key: ${had} before, ${has} after`)

  tell('Both jobs, with nothing in Vault yet', 'A run that cannot be right sends nothing.')
  await run(stack, db, 'failed', /not called, Vault secret "service_role_key" is empty/, undefined)

  tell('Both jobs, with the stale key in Vault', 'What five days of silence look like from now on.')
  await writeSecrets(db, { service_role_key: stale, project_url: stack.functions.url })
  await run(stack, db, 'failed', /HTTP 401 {2}DETAIL: {2}\{"error":"Unauthorized"\}$/, 401)

  tell('Both jobs, with the right key in Vault', 'One row updated; no migration, no restart.')
  await writeSecrets(db, { service_role_key: key })
  await run(stack, db, 'succeeded', /^DO$/, 200)

  const next = secretKey()
  tell('A rotation', `The functions get a new key (${describe(next)}). Until Vault has it, runs fail and say why:`)
  stack.functions.key = next
  await run(stack, db, 'failed', /HTTP 401/, 401)
  say(style('dim', `  select vault.update_secret(id, '<new key>') from vault.secrets where name = 'service_role_key'`))
  await db.query(`select vault.update_secret(id, $1) from vault.secrets where name = 'service_role_key'`, [next])
  await run(stack, db, 'succeeded', /^DO$/, 200)

  tell(
    'A search for the keys',
    'Every table and view that the superuser can read, statement statistics included, and the server log.'
  )
  const admin = await connect(stack.adminUrl)
  const keys = { 'the key': key, 'the new key': next, 'the stale key': stale }
  const found = await search(admin, Object.values(keys))
  const log = stack.server.log()
  for (const [at, [name, text]] of Object.entries(keys).entries()) {
    const places = (found[at] ?? []).filter((place) => place !== 'vault.decrypted_secrets')
    const inVault = found[at]?.includes('vault.decrypted_secrets')
    const expected = text === next
    show(
      places.length === 0 && inVault === expected,
      `${name.padEnd(13)}  tables: ${[...places, inVault ? 'vault.decrypted_secrets, where it belongs' : 'nowhere'].join(', ')}`
    )
    const inLog = log.includes(text)
    const dead = text === stale
    show(
      inLog === dead,
      `${''.padEnd(13)}  log:    ${inLog ? 'yes, from before the migration: pg_cron logs every command' : 'no'}`
    )
  }
  await admin.end()
  await db.end()
}

main(async () => {
  readArguments(HELP, {})
  endWithNpm()
  const began = Date.now()
  const stack = await startStack({ empty: true })
  try {
    await demo(stack)
  } finally {
    await stack.stop()
  }
  const seconds = ((Date.now() - began) / 1000).toFixed(1)
  say(
    `\n${surprises ? style('red', `${surprises} things were not as told`) : style('green', 'All as told')}, in ${seconds} s. Nothing is left behind.`
  )
  return surprises ? 1 : 0
})
