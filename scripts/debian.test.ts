/** `npm run test:debian`: the real pg_cron, at its real times and in both of its modes, beside its stand-in. */

import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from './lib/database.ts'
import { writeSecrets } from './lib/vault.ts'
import { OUTCOMES, RECORDS } from './stack/outcomes.ts'
import { type Server, startServer } from './stack/server.ts'
import { migrate, type Project, startProject } from './stack/stack.ts'
import {
  CHATTER,
  CRM,
  holdAKey,
  migrateIn,
  type Run,
  shortened,
  type TestProject,
  testProject
} from './stack/testing.ts'

const CASES = [...OUTCOMES, ...RECORDS]
const MODES = ['libpq', 'background workers'] as const

/** A run as the tests look at it. */
interface Seen extends Run {
  jobname: string
  command: string
  rest: string
}
const RUNS = `
  select jobname, runid, run.command, status, return_message as message, split_part(return_message, E'\\n', 1) as first,
    extract(epoch from start_time) * 1000 as start, extract(epoch from end_time) * 1000 as end,
    format('as %s, job''s database %s, pid %s, ended after it started %s', run.username, run.database = job.database,
      job_pid is not null, end_time >= start_time) as rest
  from cron.job_run_details as run join cron.job using (jobid)`

/** A server with the real pg_cron, a project in the database that holds its jobs, and a project for each case. */
interface Real {
  server: Server
  cron: pg.Client
  project: Project
  projects: TestProject[]
  runs(jobname: string): Promise<Seen[]>
}

const say = (text: string) => process.stderr.write(`  ${text}\n`)

/** Waits for the scheduler's next minute. */
async function nextMinute() {
  const ms = 60_000 - (Date.now() % 60_000)
  say(`the real scheduler's next minute comes in ${Math.ceil(ms / 1000)} s`)
  await sleep(ms)
}

async function until(holds: () => Promise<boolean>) {
  while (!(await holds().catch(() => false))) await sleep(50)
}

async function start(mode: (typeof MODES)[number]): Promise<Real> {
  const server = await startServer('debian', [
    `cron.use_background_workers = ${mode === 'libpq' ? 'off' : 'on'}`,
    ...['cron.max_running_jobs = 90', 'max_worker_processes = 100', 'max_connections = 400'],
    'synchronous_commit = on' // it crashes, and must not forget
  ])
  afterAll(server.stop)
  await server.createDatabase('called')
  const called = await connect(server.url('postgres', 'called'))
  await called.query('create extension pg_net with schema extensions')
  await called.end()
  await migrate(server)
  const project = await startProject(server, 'postgres', { realCron: true })
  afterAll(project.stop)
  const real: Real = {
    server,
    project,
    projects: [],
    cron: await connect(project.url),
    runs: async (jobname) => (await real.cron.query(`${RUNS} where jobname = $1 order by runid`, [jobname])).rows
  }
  const { key, url } = project.functions
  await writeSecrets(real.cron, { service_role_key: key, project_url: url })
  return real
}

/** Schedules a job for each case, in a project of its own. */
async function schedule(real: Real) {
  const { rows } = await real.cron.query('select command from cron.job where jobname = $1', [CRM])
  await holdAKey(real.cron) // a migration that locked these runs would stop the scheduler
  for (const [at, { command, durations, arrange }] of CASES.entries()) {
    const project = await testProject('called', real.server)
    real.projects.push(project)
    await project.fill()
    await arrange?.(project)
    const shown = command ?? shortened(rows[0].command, durations ?? [50, 110])
    await real.cron.query('select cron.schedule_in_database($1, $2, $3, $4, active := false)', [
      ...[`case ${at}`, '* * * * *', shown, project.database]
    ])
  }
  await real.cron.query(`select cron.alter_job(jobid, active := false) from cron.job where jobname not like 'case %'`)
}

const ended = (runs: Seen[], times: number) => runs.filter((run) => run.end).length === times

/** Makes both functions wait until they are released. `started`: both have been called, in one batch of pg_net's worker. */
function hold({ project, cron }: Real) {
  const queued = async () => (await cron.query('select id from net.http_request_queue')).rows.length
  const held = [project.functions.hold('odoo-crm-sync'), project.functions.hold('odoo-chatter-sync')]
  const stopped = project.net.stop()
  return {
    async started() {
      await stopped
      await until(async () => (await queued()) === 2)
      project.startNet()
      await Promise.all(held.map(({ started }) => started))
    },
    release: () => held.map(({ release }) => release())
  }
}

type Held = ReturnType<typeof hold>

/** The first minute: every case runs, and, when both jobs are waiting, the migration, whose transaction stays open. */
async function firstMinute(real: Real, { started, release }: Held): Promise<pg.Client> {
  await until(async () => {
    const { rows } = await real.cron.query('select count(distinct jobid)::int as n from cron.job_run_details')
    return rows[0].n === CASES.length + 2
  })
  // Not active := false, which on 1.4 cancels a run in progress.
  await real.cron.query(
    `select cron.alter_job(jobid, schedule := '0 0 1 1 *') from cron.job where jobname like 'case %'`
  )
  await started()
  const migration = await connect(real.project.url)
  await migration.query('begin')
  await migrateIn(migration)
  release()
  for (const job of [CRM, CHATTER]) await until(async () => ended(await real.runs(job), 1))
  for (const at of CASES.keys()) await until(async () => ended(await real.runs(`case ${at}`), 1))
  return migration
}

/** The same cases by the stand-in. */
async function standIn(): Promise<Seen[]> {
  const seen: Seen[] = []
  for (const { command, durations, arrange } of CASES) {
    const project = await testProject()
    await project.fill()
    await arrange?.(project)
    const [job] = await project.rows('select jobid, command from cron.job where jobname = $1', [CRM])
    await project.rows('select cron.alter_job($1, command := $2)', [
      ...[job?.jobid, command ?? shortened(job?.command ?? '', durations ?? [50, 110])]
    ])
    await project.run(CRM)
    seen.push(...(await project.rows<Seen>(RUNS)))
    await project.stop()
  }
  return seen
}

let reals: Real[]
let migrations: pg.Client[]
let stoodIn: Seen[]
beforeAll(async () => {
  reals = await Promise.all(MODES.map(start))
  const held = reals.map(hold)
  await Promise.all(reals.map(schedule))
  await sleep(Date.now() % 60_000 > 57_000 ? 4000 : 0) // not around a full minute
  const every = `select cron.alter_job(jobid, schedule := '* * * * *', active := true) from cron.job`
  for (const { cron } of reals) await cron.query(every)
  const runs = nextMinute().then(() => Promise.all(reals.map((real, at) => firstMinute(real, held[at] as Held))))
  ;[stoodIn, migrations] = await Promise.all([standIn(), runs])
}, 200_000)

/** Background workers lay a message out otherwise than libpq, which Supabase's pg_cron uses. */
const asLibpq = (message: string) =>
  message
    .replace(/^SELECT (\d+)$/, (_all, rows) => `${rows} row${rows === '1' ? '' : 's'}`)
    .replace(/^(ERROR|DETAIL|HINT|CONTEXT): (?! )/gm, '$1:  ')
    .replace(/^(ERROR[\s\S]*[^\n])$/, '$1\n')

describe.each(MODES)('the outcome of a run at its real time (%s)', (mode) => {
  const real = () => reals[MODES.indexOf(mode)] as Real
  for (const [at, { name, status, message, check }] of CASES.entries())
    test(name, async () => {
      const [run] = await real().runs(`case ${at}`)
      const shown = asLibpq(run?.message ?? '')
      expect({ status: run?.status, begins: shown.slice(0, message.length) }).toEqual({ status, begins: message })
      const project = real().projects[at]
      if (project && run) await check?.(project, { ...run, message: shown })
      const stood = stoodIn[at]
      const [said] = shown.split('\nCONTEXT:') // where it was interrupted
      expect([run?.command, run?.rest, said]).toEqual([
        stood?.command,
        stood?.rest,
        stood?.message.split('\nCONTEXT:')[0]
      ])
    })
})

/** How the runs of both jobs ended, in each mode: the first, but for so many as were there before. */
const bothJobs = (before = [0, 0, 0, 0]) =>
  Promise.all(
    reals
      .flatMap((real) => [real.runs(CRM), real.runs(CHATTER)])
      .map(async (runs, at) => (await runs).slice(before[at]).map(({ status, first }) => `${status}: ${first}`))
  )
const counts = async () => (await bothJobs()).map((runs) => runs.length)

test('an open transaction of the migration holds up neither runs in progress nor the next ones', async () => {
  for (const runs of await bothJobs()) expect([...new Set(runs)]).toEqual(['succeeded: DO'])
  const before = await counts()
  await nextMinute()
  await expect.poll(() => bothJobs(before), { timeout: 20_000 }).toEqual(Array(4).fill(['succeeded: DO']))
  for (const migration of migrations) await migration.query('commit').finally(() => migration.end())
}, 90_000)

test('a server that crashes while both jobs wait: their runs say so, the next ones work, nothing is sent twice', async () => {
  const calls = () => reals.map(({ project }) => project.functions.calls.length)
  const held = reals.map(hold)
  const [before, called] = [await counts(), calls()]
  await nextMinute()
  for (const { started } of held) await started()
  for (const { cron } of reals) {
    const { rows } = await cron.query('select pg_backend_pid() as pid')
    process.kill(rows[0].pid, 'SIGKILL') // PostgreSQL restarts all of itself then
  }
  for (const { release } of held) release()
  for (const real of reals)
    await until(async () => {
      real.cron = await connect(real.project.url)
      return true
    })
  const both = (...runs: unknown[]) => Array(4).fill(runs)
  // Which of the two: the launcher may outlive the run's session for a moment.
  const lost = expect.stringMatching(/^failed: (server restarted|server closed the connection unexpectedly)$/)
  await expect.poll(() => bothJobs(before), { timeout: 20_000 }).toEqual(both(lost))
  expect(calls()).toEqual(called.map((times) => times + 2))
  await nextMinute()
  await expect.poll(() => bothJobs(before), { timeout: 20_000 }).toEqual(both(lost, 'succeeded: DO'))
  expect(calls()).toEqual(called.map((times) => times + 4))
}, 180_000)

test('the stand-in and the real pg_cron differ in this, and in nothing else that SQL shows', async () => {
  const project = await testProject()
  const shape = async (session: pg.Client) => {
    const { rows } = await session.query(`
      select format('%s.%s %s', table_name, column_name, data_type) as it from information_schema.columns
      where table_schema = 'cron' and table_name in ('job', 'job_run_details')
      union all
      select format('%s(%s)', proname, pg_get_function_arguments(oid)) from pg_proc
      where pronamespace = 'cron'::regnamespace and prorettype <> 'trigger'::regtype and proname not like '\\_%'`)
    return rows.map((row): string => row.it).sort()
  }
  const [stood, real] = [await shape(project.db), await shape(reals[0]?.cron as pg.Client)]
  const only = {
    standIn: stood.filter((line) => !real.includes(line)),
    real: real.filter((line) => !stood.includes(line))
  }
  await expect(reals[0]?.cron.query(`select cron.schedule('often', '2 seconds', 'select 1')`)).rejects.toThrow(
    'invalid schedule'
  )
  say(`only in the stand-in, of 1.6: ${only.standIn.join(', ')}, schedules in seconds`)
  say(`only in the real one, which is 1.4 here: ${only.real.join(', ')}`)
  say('not in the stand-in: the line of the command that libpq shows below a syntax error')
  expect(only).toEqual({
    standIn: ['job.jobname text', 'unschedule(job_name text)'],
    real: ['job.jobname name', 'unschedule(job_name name)']
  })
})
