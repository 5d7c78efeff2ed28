/** What the tests share. */

import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { afterAll, inject } from 'vitest'
import { connect } from '../lib/database.ts'
import { nextTime } from '../lib/jobs.ts'
import { fieldsOf, historyMigration, jobsMigration, wantedJobs, withDurations } from '../lib/template.ts'
import { startEdgeFunctions } from './functions.ts'
import { legacyKey } from './keys.ts'
import { emptyDatabase, namedDatabase } from './named.ts'
import { type Server, serverAt } from './server.ts'
import { type Project, ROOT, startProject } from './stack.ts'
import type { Scheduler } from './workers/cron.ts'

/** The text of the migration of the jobs, and of the one of the history. */
export const MIGRATION = fs.readFileSync(path.join(ROOT, jobsMigration()), 'utf8')
export const HISTORY_MIGRATION = fs.readFileSync(path.join(ROOT, historyMigration()), 'utf8')

export const CRM = 'odoo-crm-sync-incremental'
export const CHATTER = 'odoo-chatter-sync-hourly'

/** A run of a job, as cron.job_run_details has it; `first` is the first line of return_message. */
export interface Run {
  runid: string
  status: string
  first: string
  message: string
  start: number
  end: number
}

export interface TestProject extends Project {
  /** A folder for temporary files, which is removed after the tests. */
  dir: string
  /** The folder of the server's files; undefined for a database that was named, whose server may be elsewhere. */
  data: string | undefined
  /** A session as `postgres`. */
  db: pg.Client
  /** Rows of one query as `postgres`. */
  rows<T = Record<string, string>>(sql: string, values?: unknown[]): Promise<T[]>
  /** Gives Vault rows these values. Missing rows are created; `key` and `url` are the functions' own where not given. */
  fill(secrets?: { key?: string; url?: string }): Promise<void>
  /** Starts a job and waits for its run to end. */
  run(job: string): Promise<Run>
  /** A session as supabase_admin, the superuser. */
  admin: pg.Client
  /** The last run of a job, once it has ended. */
  ended(job: string, after: string): Promise<Run>
  /** What the server has logged so far; undefined where its log cannot be read. */
  log(): string | undefined
}

/** Set in `npm run test:supabase`; undefined in `npm test`, which makes databases of its own. */
export const NAMED_DATABASE = process.env.TEST_SUPABASE ? namedDatabase() : undefined

/**
 * Runs a migration in the session's database, by default both, one after the other. Inside a transaction the session's
 * search_path is set back: a migration leaves it empty until the transaction ends.
 */
export async function migrateIn(db: pg.Client, ...migrations: string[]): Promise<void> {
  for (const migration of migrations.length ? migrations : [MIGRATION, HISTORY_MIGRATION]) await db.query(migration)
  await db.query('reset search_path')
}

let count = 0

/** The server of all test files. */
export const sharedServer = (): Server => serverAt(inject('server').dir, inject('server').port)

type Surroundings = Pick<TestProject, 'db' | 'admin' | 'dir' | 'data' | 'log'>

/** A project of this test file's own, gone when the file is done or `stop` is called: in the named database, else in one of its own. */
export const testProject = (template: 'fresh' | 'migrated' = 'migrated', server?: Server): Promise<TestProject> =>
  NAMED_DATABASE && !server ? namedProject() : ownProject(template, server ?? sharedServer())

async function ownProject(template: string, server: Server): Promise<TestProject> {
  const name = `test_${process.pid}_${++count}_${randomBytes(3).toString('hex')}`
  await server.createDatabase(name, template)
  const admin = await connect(server.url('supabase_admin', name))
  if (template === 'migrated') await admin.query('update cron.job set database = current_database()')
  const project = await startProject(server, name, {
    // A job that is due at a full hour is not, whenever these tests run: only those that are due every few seconds.
    next: (schedule, from) => (/second/.test(schedule) ? nextTime(schedule, from) : undefined)
  })
  const db = await connect(project.url)
  const { dir, log } = server
  return tested(project, { db, admin, dir, data: path.join(dir, 'data'), log }, () => server.dropDatabase(name))
}

/** Makes a job that is due every second due no more, in the transaction that begins its run: one run, however slow the machine. */
const ONCE = `
  create or replace function pg_temp.once() returns trigger language plpgsql security definer as $once$
  begin
    update cron.job set schedule = '0 0 1 1 *' where jobid = new.jobid and schedule = '1 second';
    return null;
  end $once$;
  create or replace trigger once after insert on cron.job_run_details for each row execute function pg_temp.once()`

/** The named database, as a migration of an empty one leaves it, but for the schedules: no job runs by itself. */
async function namedProject(): Promise<TestProject> {
  if (!NAMED_DATABASE) throw new Error('no database was named')
  const { url, adminUrl, functionsHost, log } = NAMED_DATABASE
  const [db, admin] = await Promise.all([connect(url), connect(adminUrl)])
  await emptyDatabase(admin)
  await migrateIn(db)
  await admin.query("update cron.job set schedule = '0 0 1 1 *'")
  await admin.query(ONCE)
  const functions = await startEdgeFunctions(legacyKey(), functionsHost)
  const scheduler = startJobsAtOnce(await connect(url), admin)
  const project: Project = {
    ...{ database: new URL(url).pathname.slice(1), url, adminUrl, functions, scheduler },
    net: {
      wake() {},
      stop: () => Promise.reject(new Error("a real worker of pg_net cannot be stopped: use 'occupy'"))
    },
    startNet() {},
    async stop() {
      await Promise.all([functions.stop(), scheduler.stop()])
    }
  }
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'supabase-test-'))
  const server = { data: undefined, log: () => (log ? fs.readFileSync(log, 'utf8') : undefined) }
  return tested(project, { db, admin, dir, ...server }, async () => fs.rmSync(dir, { recursive: true }))
}

/**
 * A scheduler where pg_cron is real: it lets a job be due every second, until a run of it has begun. pg_cron looks for changed
 * jobs every second, and when the server reloads its configuration.
 */
function startJobsAtOnce(db: pg.Client, admin: pg.Client): Scheduler {
  const begun = new Map<string, Promise<void>>()
  async function start(jobid: string) {
    const last = async () =>
      (await db.query('select max(runid) as runid from cron.job_run_details where jobid = $1', [jobid])).rows[0].runid
    const before = await last()
    const { rows } = await db.query('select schedule from cron.job where jobid = $1', [jobid])
    const schedule = (when: string) => db.query('select cron.alter_job(job_id := $1, schedule := $2)', [jobid, when])
    await schedule('1 second')
    await admin.query('select pg_reload_conf()')
    while ((await last()) === before) await sleep(10)
    await schedule(rows[0].schedule)
  }
  return {
    runNow(jobid) {
      begun.set(
        jobid,
        (begun.get(jobid) ?? Promise.resolve()).then(() => start(jobid))
      )
    },
    wake() {},
    async stop() {
      await Promise.all(begun.values())
      await db.end()
    }
  }
}

function tested(project: Project, surroundings: Surroundings, drop = async () => {}): TestProject {
  const { stop } = project
  let stopped: Promise<unknown> | undefined
  project.stop = async () => {
    stopped ??= stop()
      .then(() => Promise.all([tested.db.end(), tested.admin.end()]))
      .then(drop)
    await stopped
  }
  afterAll(project.stop)

  const rows = async <T>(sql: string, values?: unknown[]) => (await tested.db.query(sql, values)).rows as T[]
  const last = async (job: string) =>
    (
      await rows<Run>(
        `select runid, status, return_message as message, split_part(return_message, E'\\n', 1) as first,
           extract(epoch from start_time) * 1000.0 as start, extract(epoch from end_time) * 1000.0 as end
         from cron.job_run_details join cron.job using (jobid) where jobname = $1 order by runid desc limit 1`,
        [job]
      )
    )[0]
  const ended = async (job: string, after: string) => {
    for (;;) {
      const run = await last(job)
      if (run && BigInt(run.runid) > BigInt(after) && /succeeded|failed/.test(run.status)) return run
      await sleep(20)
    }
  }
  const tested: TestProject = Object.assign(project, surroundings, {
    rows,
    ended,
    async fill(secrets: { key?: string; url?: string } = {}) {
      const { key = project.functions.key, url = project.functions.url } = secrets
      await rows(
        `select vault.update_secret(coalesce(id, vault.create_secret('', wanted)), value)
         from (values ('project_url', $1), ('service_role_key', $2)) as row (wanted, value)
         left join vault.secrets on name = wanted`,
        [url, key]
      )
    },
    async run(job: string) {
      const before = (await last(job))?.runid ?? '0'
      const [found] = await rows<{ jobid: string }>('select jobid from cron.job where jobname = $1', [job])
      if (!found) throw new Error(`no job ${job}`)
      project.scheduler.runNow(found.jobid)
      return ended(job, before)
    }
  })
  return tested
}

/**
 * Keeps pg_net's worker busy with somebody else's request, until `release` is called: it does not take what is queued meanwhile.
 */
export async function occupy({ functions, rows }: TestProject): Promise<() => void> {
  const { started, release } = functions.hold('somebody-elses')
  const url = `${functions.url}/functions/v1/somebody-elses`
  await rows('select net.http_post(url := $1, timeout_milliseconds := 100000)', [url])
  await started
  return release
}

/** Gives a job its own command with other durations, in seconds: what the function may take, and when to give up. */
export async function shorten(project: TestProject, job: string, answerWithin: number, giveUpAfter: number) {
  const [found] = await project.rows('select jobid, command from cron.job where jobname = $1', [job])
  const command = withDurations(found?.command ?? '', answerWithin, giveUpAfter)
  await project.rows('select cron.alter_job(job_id := $1, command := $2)', [found?.jobid, command])
}

/** Gives a job the migration's command again. */
export async function restore(project: TestProject, job: string) {
  const wanted = (await wantedJobs(project.db)).find(({ name }) => name === job)
  await project.rows('select cron.alter_job(job_id := jobid, command := $1) from cron.job where jobname = $2', [
    wanted?.command,
    job
  ])
}

/** Gives every job of the template the command that it had before the migration, with a literal key. */
export async function holdAKey(session: pg.Client) {
  const { rows } = await session.query('select jobid, command from cron.job')
  for (const { jobid, command } of rows) {
    const fields = fieldsOf(command)
    const old = `-- ${fields?.function} with "Bearer an-opaque-key-of-old"\n${command}`
    if (fields) await session.query('select cron.alter_job(job_id := $1, command := $2)', [jobid, old])
  }
}

export interface Ended {
  code: number | null
  out: string
  err: string
}

/** Runs one of the commands in scripts/ and waits for it; without `input` its standard input is /dev/null. */
export function script(
  name: string,
  args: string[],
  env: NodeJS.ProcessEnv = {},
  options: { cwd?: string; input?: string } = {}
): Promise<Ended> {
  const { cwd = ROOT, input } = options
  const tsx = import.meta.resolve('tsx/esm')
  const child = spawn(process.execPath, ['--import', tsx, path.join(ROOT, `scripts/${name}.ts`), ...args], {
    cwd,
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env }
  })
  let out = ''
  let err = ''
  child.stdin?.on('error', () => {}).end(input)
  child.stdout?.on('data', (chunk) => {
    out += chunk
  })
  child.stderr?.on('data', (chunk) => {
    err += chunk
  })
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })))
}

/** The command line of every process: from /proc, else (macOS) from ps. */
export function processes(): string[] {
  return fs.existsSync('/proc/self/cmdline')
    ? fs
        .readdirSync('/proc')
        .filter((pid) => /^\d+$/.test(pid))
        .map((pid) => {
          try {
            return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
          } catch {
            return '' // it ended meanwhile
          }
        })
    : execFileSync('ps', ['-axo', 'command']).toString().split('\n')
}
