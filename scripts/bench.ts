/** `npm run bench`: what runs, their waiting and the migration cost, beside what they stand in for. */

import { execFile } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type pg from 'pg'
import { connect } from './lib/database.ts'
import { findJob, runCommand } from './lib/jobs.ts'
import { historyMigration, jobsMigration } from './lib/template.ts'
import { main, readArguments, style } from './lib/terminal.ts'
import { writeSecrets } from './lib/vault.ts'
import { legacyKey, secretKey } from './stack/keys.ts'
import { endWithNpm } from './stack/lifetime.ts'
import { emptyDatabase, openThrowAway, versions } from './stack/named.ts'
import type { Server } from './stack/server.ts'
import { ROOT, type Stack, startStack, supabase } from './stack/stack.ts'

const HELP = `
Usage: npm run bench -- [--json]
       npm run bench -- --named [--throw-away <host>] [--json]

Measures a job's command beside the call that Supabase's documentation gives, the migration beside a plain update, and
what has no other side: how soon a run ends, what waiting costs, a reset with seed and tests. On a throw-away PostgreSQL
with stand-ins of pg_cron, pg_net and Vault, so the ratios count, not the milliseconds. Takes about three and a half minutes.

With --named: what a run costs, on the throw-away Supabase database that DATABASE_URL and DATABASE_ADMIN_URL name, with its
own extensions. It EMPTIES Vault and pg_cron's history there, as npm run test:supabase does.

Options:
  --named              measure on the named database
  --throw-away <host>  the host of a named database that is not local, spelled out
  --json               the same as data
  --help               this text

Exit code: 0 measured, goals met or not, 1 could not be measured, 2 wrong use
`

const CRM = 'odoo-crm-sync-incremental'

/** The call of Supabase's documentation on scheduling edge functions, with both values from Vault. */
const RECIPE = `select net.http_post(
  url := (select decrypted_secret from vault.decrypted_secrets where name = 'project_url')
    || '/functions/v1/odoo-crm-sync',
  headers := jsonb_build_object('Content-Type', 'application/json', 'Authorization',
    'Bearer ' || (select decrypted_secret from vault.decrypted_secrets where name = 'service_role_key')),
  body := '{"mode":"incremental"}'::jsonb, timeout_milliseconds := 50000) as request_id`

/** Median and spread (the interquartile range) of some samples; NaN where there are none. */
function figure(samples: number[]) {
  const sorted = samples.toSorted((a, b) => a - b)
  const quantile = (share: number) => sorted[Math.floor(share * sorted.length)] ?? Number.NaN
  return { median: quantile(0.5), spread: quantile(0.75) - quantile(0.25) }
}

/**
 * A row of the table. Its value is the ratio of the medians, or the median where there is no other side.
 * @param goal the most that the value may be
 */
function row(name: string, unit: string, goal: number | undefined, our: number[], their?: number[]) {
  const [ours, theirs] = [figure(our), their && figure(their)]
  const value = ours.median / (theirs?.median ?? 1)
  const met = goal === undefined || Number.isNaN(value) ? undefined : value <= goal
  return { name, unit, ours, theirs, value, goal, met }
}

type Row = ReturnType<typeof row>

const tell = (text: string) => process.stderr.write(`${style('dim', text)}\n`)

/** Samples of every side, one of each in turn. */
async function alternate<T>(times: number, ...sides: (() => Promise<T>)[]): Promise<T[][]> {
  const samples: T[][] = sides.map(() => [])
  for (let time = 0; time < times; time++) for (const [at, side] of sides.entries()) samples[at]?.push(await side())
  return samples
}

/** The milliseconds that something takes. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

/** The rows of one query, in a session of its own. */
async function rows(url: string, sql: string, values: unknown[] = []) {
  const session = await connect(url)
  return (await session.query(sql, values).finally(() => session.end())).rows
}

/** Milliseconds of a statement in a session of its own, as pg_cron runs it: with opening the session, and without. */
async function fresh(url: string, statement: string) {
  const began = performance.now()
  const session = await connect(url, 'pg_cron')
  const alone = await timed(() => session.query(statement))
  const whole = performance.now() - began
  await session.end()
  return { whole, alone }
}

/** Each sample is rolled back: nothing is sent. */
async function upToCommit(url: string, statement: string): Promise<Row[]> {
  tell('a run up to its commit, fresh connection: 200 samples a side')
  const sides = [statement, RECIPE].map((sql) => `begin; ${sql}; rollback`)
  const samples = await alternate(200, ...sides.map((sql) => () => fresh(url, sql)))
  const [whole = [], theirWhole] = samples.map((side) => side.map((sample) => sample.whole))
  const [alone = [], theirAlone] = samples.map((side) => side.map((sample) => sample.alone))

  tell('a run up to its commit, warm: 200 samples a side')
  const sessions = await Promise.all(sides.map(() => connect(url, 'pg_cron')))
  const again = sessions.map((session, at) => () => timed(() => session.query(sides[at] ?? '')))
  await alternate(20, ...again)
  const [warm = [], theirWarm] = await alternate(200, ...again)
  await Promise.all(sessions.map((session) => session.end()))

  return [
    row('a run up to its commit, fresh connection', 'ms', 1.15, whole, theirWhole),
    row('  its statement alone', 'ms', undefined, alone, theirAlone),
    row('a run up to its commit, warm', 'ms', 1.6, warm, theirWarm)
  ]
}

/** Ours with 10,000 further Vault secrets, beside ours with 1: each in a copy of the migrated database. */
async function amongSecrets(server: Server, statement: string): Promise<Row> {
  tell('a run with 10,000 further Vault secrets: 200 samples a side')
  const urls: string[] = []
  for (const secrets of [10_000, 1]) {
    await server.createDatabase(`secrets_${secrets}`, 'postgres')
    const url = server.socketUrl('postgres', `secrets_${secrets}`)
    await rows(
      url,
      `select vault.create_secret(md5(n::text), 'further ' || n) from generate_series(1, ${secrets}) as n`
    )
    await rows(url, 'vacuum analyze vault.secrets')
    urls.push(url)
  }
  const [many = [], one] = await alternate(200, ...urls.map((url) => async () => (await fresh(url, statement)).whole))
  return row('a run with 10,000 further Vault secrets, beside 1', 'ms', 1.1, many, one)
}

/** Milliseconds from the response becoming visible to the run's end, for functions that take 0 to 0.9 seconds. */
async function verdict(stack: Stack, url: string, command: string): Promise<Row> {
  tell('from the response to the verdict: 21 runs')
  const [runner, watcher] = [await connect(url, 'pg_cron'), await connect(url)]
  const look = `select from net._http_response where created > now() - interval '5 seconds' and id > $1`
  const seen = async (last: string) => {
    while ((await watcher.query(look, [last])).rowCount === 0) await sleep(2)
    return performance.now()
  }
  const samples: number[] = []
  for (let delay = 0; delay <= 900; delay += 45) {
    stack.functions.behave('odoo-crm-sync', { delay })
    const last = (await watcher.query('select coalesce(max(id), 0) as id from net._http_response')).rows[0].id
    const ended = runner.query(command).then(() => performance.now())
    const [end, visible] = await Promise.all([ended, seen(last)])
    samples.push(end - visible)
  }
  stack.functions.behave('odoo-crm-sync')
  await Promise.all([runner.end(), watcher.end()])
  return row('from the response to the verdict', 'ms', 50, samples)
}

/** Seconds of a reset by the Supabase CLI, the seed and every pgTAP file, as their users run them. */
async function reset(stack: Stack): Promise<Row> {
  tell('supabase db reset, seed and every pgTAP file: 3 samples')
  const { PATH, HOME } = process.env
  const { key, url } = stack.functions
  const env = { PATH, HOME, DATABASE_URL: stack.url, SERVICE_ROLE_KEY: key, PROJECT_URL: url }
  const all = async () => {
    await supabase(stack.server.dir, 'db', 'reset', `--remote=${stack.url}`)
    for (const script of ['seed', 'test-db'])
      await promisify(execFile)(process.execPath, ['--import', 'tsx/esm', `scripts/${script}.ts`], { cwd: ROOT, env })
  }
  const [samples = []] = await alternate(3, async () => (await timed(all)) / 1000)
  return row('supabase db reset, seed and every pgTAP file', 's', 6, samples)
}

/** Makes the database `history`: 1,000,000 runs of 7 jobs, 60,000 of them with the key in their command. */
async function makeHistory(server: Server, key: string): Promise<void> {
  await server.createDatabase('history')
  const url = server.url('postgres', 'history')
  const sync = (name: string, body: string) => `select net.http_post(
  url := 'https://abcdefghijklmnopqrst.supabase.co/functions/v1/${name}',
  headers := jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ${key}'),
  body := '${body}'::jsonb) as request_id`
  const other = (length: number) => [`other-${length}`, 'select public.refresh_x() -- '.padEnd(length, 'and why ')]
  const jobs = [
    ...[40, 100, 160].map(other),
    [CRM, sync('odoo-crm-sync', '{"mode":"incremental"}')],
    ['odoo-chatter-sync-hourly', sync('odoo-chatter-sync', '{"mode":"missing"}')],
    ...[230, 300].map(other)
  ]
  await rows(url, 'create extension pg_cron; create extension pg_net with schema extensions')
  for (const job of jobs) await rows(url, `select cron.schedule($1, '0 * * * *', $2)`, job)
  await rows(
    url,
    `insert into cron.job_run_details
       (runid, jobid, database, username, command, status, return_message, start_time, end_time)
     select run, jobid, database, username, command, 'succeeded', '1 row', time, time
     from generate_series(1, 1000000) as run
     cross join lateral (select now() - (1000001 - run) * interval '30 seconds' as time) as started
     join cron.job on jobid = case when run % 50 < 3 then 4 + run % 50 / 2 else (array[1, 2, 3, 6, 7])[1 + run % 5] end`
  )
  await rows(url, fs.readFileSync(path.join(ROOT, jobsMigration()), 'utf8')) // the history's migration goes by its commands
  await rows(url, 'vacuum analyze cron.job_run_details')
}

/** Seconds that `redact` takes in a copy of the history. @throws Error where it did not redact 60,000 runs */
async function onCopy(server: Server, redact: (session: pg.Client) => Promise<unknown>): Promise<number> {
  await server.createDatabase('copy', 'history')
  await rows(server.url('supabase_admin'), 'checkpoint')
  const session = await connect(server.url('postgres', 'copy'))
  const milliseconds = await timed(() => redact(session))
  const count = `select count(*)::int as runs from cron.job_run_details where command ~ '(^-- supabase-cron-vault removed|''Bearer .key.'')'`
  const { runs } = (await session.query(count)).rows[0]
  await session.end()
  await rows(server.url('postgres'), 'drop database copy')
  if (runs !== 60_000) throw new Error(`${runs} runs of the history were redacted, not 60,000`)
  return milliseconds / 1000
}

/** The migration of the history, beside the update that somebody who knows the key would write. */
async function onHistory(server: Server): Promise<Row> {
  tell("the history's migration on 1,000,000 runs: 5 samples a side")
  const key = legacyKey()
  await makeHistory(server, key)
  const migration = fs.readFileSync(path.join(ROOT, historyMigration()), 'utf8')
  const update = `update cron.job_run_details set command = replace(command, $1, '[key]')
    where command like '%' || $1 || '%'`
  const ours = () => onCopy(server, (session) => session.query(migration))
  const theirs = () => onCopy(server, (session) => session.query(update, [key]))
  const [first = [], second = []] = await alternate(3, ours, theirs)
  const [third = [], fourth = []] = await alternate(2, theirs, ours)
  const name = "the history's migration on 1,000,000 runs, 60,000 to change"
  return row(name, 's', 1.3, [...first, ...fourth], [...second, ...third])
}

/** CPU seconds of a process so far: utime and stime of /proc/<pid>/stat, in ticks of 1/100 s. */
function cpuSeconds(pid: number): number {
  const [utime, stime] = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ').slice(13)
  return (Number(utime) + Number(stime)) / 100
}

/**
 * What 32 runs that nobody serves use of one core, from their start until they give up, among the responses that pg_net
 * keeps (of six hours, 100,000 here). @throws Error where a run does not end as it should
 */
async function waiting(url: string, command: string): Promise<Row> {
  const name = '32 runs waiting for 110 s, of one core'
  if (!fs.existsSync('/proc/self/stat')) return row(name, '%', 4, [])
  tell(name)
  await rows(
    url,
    `insert into net._http_response (id, status_code, content_type, headers, content, timed_out, created)
     select -n, 200, 'application/json', '{}', '{"ok":true}', false, now() - n * interval '6 hours' / 100000
     from generate_series(1, 100000) as n order by n desc`
  )
  await rows(url, 'vacuum analyze net._http_response')
  const sessions = await Promise.all(Array.from({ length: 32 }, () => connect(url, 'pg_cron')))
  const ids = await Promise.all(sessions.map((session) => session.query('select pg_backend_pid() as pid')))
  const used = () => ids.reduce((sum, id) => sum + cpuSeconds(id.rows[0].pid), 0)
  const [began, before] = [performance.now(), used()]
  const verdicts = await Promise.all(sessions.map((session) => runCommand(session, command)))
  const share = (100 * (used() - before)) / ((performance.now() - began) / 1000)
  await Promise.all(sessions.map((session) => session.end()))
  const wrong = verdicts.find(({ message }) => !message.endsWith('not sent within 110 s, request withdrawn'))
  if (wrong) throw new Error(`a run that nobody served ended with "${wrong.message}"`)
  return row(name, '%', 4, [share])
}

/** A command up to its first commit. */
const upTo = (command: string) => command.replace('commit;', 'return;')

/** What a run costs on the named database. */
async function onNamed(session: pg.Client, admin: pg.Client, url: string): Promise<Row[]> {
  await emptyDatabase(admin)
  await migrateOn(session)
  await admin.query("update cron.job set schedule = '0 0 1 1 *'")
  await writeSecrets(session, { service_role_key: secretKey(), project_url: 'http://127.0.0.1:9' })
  const { command } = await findJob(session, CRM)
  try {
    return await upToCommit(url, upTo(command))
  } finally {
    await emptyDatabase(admin)
    await migrateOn(session)
  }
}

async function migrateOn(session: pg.Client) {
  for (const file of [jobsMigration(), historyMigration()])
    await session.query(fs.readFileSync(path.join(ROOT, file), 'utf8'))
}

async function bench(stack: Stack): Promise<Row[]> {
  const { server } = stack
  const url = server.socketUrl('postgres', stack.database)
  await Promise.all([stack.scheduler.stop(), stack.net.stop()]) // no run but these, and nothing is sent
  const session = await connect(url)
  await writeSecrets(session, { service_role_key: stack.functions.key, project_url: stack.functions.url })
  const { command } = await findJob(session, CRM)
  await session.end()
  const statement = upTo(command)

  const runs = [...(await upToCommit(url, statement)), await amongSecrets(server, statement)]
  stack.startNet()
  runs.push(await verdict(stack, url, command), await reset(stack))
  await stack.net.stop()
  return [...runs, await onHistory(server), await waiting(url, command)]
}

/** The lines of the table, in columns. */
function table(rows: Row[]): string[] {
  const show = (side: Row['theirs'], unit: string) =>
    side ? `${side.median.toFixed(2)} ${unit} (${side.spread.toFixed(2)})` : ''
  const cells = rows.map(({ name, unit, ours, theirs, value, goal, met }) => {
    const of = theirs ? '' : ` ${unit}`
    const most = goal === undefined ? '' : `≤ ${goal}${of}`
    if (Number.isNaN(value)) return [name, '', '', 'not measured', most, '']
    const mark = met === undefined ? '' : met ? style('green', 'yes') : style('red', 'no')
    return [name, show(ours, unit), show(theirs, unit), `${value.toFixed(2)}${of}`, most, mark]
  })
  const lines = [['', 'ours (spread)', 'theirs (spread)', 'ratio or value', 'goal', 'met'], ...cells]
  const width = (column: number) => Math.max(...lines.map((line) => line[column]?.length ?? 0))
  const pad = (cell: string, column: number) => cell.padEnd(width(column))
  return lines.map((line) => line.map(pad).join('  ').trimEnd())
}

main(async () => {
  const { values } = readArguments(HELP, {
    json: { type: 'boolean' },
    named: { type: 'boolean' },
    'throw-away': { type: 'string' }
  })
  const print = async (session: pg.Client, measured: Row[]) => {
    const system = { server: await versions(session), node: process.versions.node, cpus: os.availableParallelism() }
    const title = `${system.server}; Node ${system.node}, ${system.cpus} CPUs. Medians, and interquartile ranges.`
    const text = values.json ? JSON.stringify({ ...system, rows: measured }) : [title, ...table(measured)].join('\n')
    process.stdout.write(`${text}\n`)
  }
  endWithNpm()
  if (values.named) {
    const { session, admin, url, close } = await openThrowAway(values['throw-away'])
    try {
      await print(session, await onNamed(session, admin, url))
    } finally {
      await close()
    }
    return 0
  }
  const stack = await startStack()
  try {
    const measured = await bench(stack)
    const session = await connect(stack.url)
    await print(session, measured)
    await session.end()
    return 0
  } finally {
    await stack.stop()
  }
})
