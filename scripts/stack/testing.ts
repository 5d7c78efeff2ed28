/** What the tests share. */

import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { afterAll, inject } from 'vitest'
import { connect } from '../lib/database.ts'
import { nextTime } from '../lib/jobs.ts'
import { migrationFile } from '../lib/migration.ts'
import { type Server, serverAt } from './server.ts'
import { type Project, ROOT, startProject } from './stack.ts'

/** The migration's text. */
export const MIGRATION = fs.readFileSync(path.join(ROOT, migrationFile()), 'utf8')

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
  /** The folder of the server. */
  dir: string
  /** A session as `postgres`. */
  db: pg.Client
  /** Rows of one query as `postgres`. */
  rows<T = Record<string, string>>(sql: string, values?: unknown[]): Promise<T[]>
  /** Fills both Vault rows: with the functions' own URL and key, unless told otherwise. */
  fill(secrets?: { key?: string; url?: string }): Promise<void>
  /** Starts a job and waits for its run to end. */
  run(job: string): Promise<Run>
  /** A session as supabase_admin, the superuser. */
  admin: pg.Client
  /** The last run of a job, once it has ended. */
  ended(job: string, after: string): Promise<Run>
}

/** Applies the migration in the session's database; resolves to its warnings. */
export async function migrateIn(db: pg.Client, migration = MIGRATION): Promise<string[]> {
  const warnings: string[] = []
  const collect = (notice: { severity?: string | undefined; message?: string | undefined }) => {
    if (notice.severity === 'WARNING') warnings.push(notice.message ?? '')
  }
  db.on('notice', collect)
  await db.query(migration).finally(() => db.off('notice', collect))
  return warnings
}

let count = 0

/** The server of all test files. */
export const sharedServer = (): Server => serverAt(inject('server').dir, inject('server').port)

/**
 * A project of this test file's own; gone when the file is done, or `stop` is called.
 * @param template `called`: without pg_cron, for a server whose real pg_cron lives in another database
 */
export async function testProject(
  template: 'fresh' | 'migrated' | 'called' = 'migrated',
  server = sharedServer()
): Promise<TestProject> {
  const { dir } = server
  const name = `test_${process.pid}_${++count}_${randomBytes(3).toString('hex')}`
  await server.createDatabase(name, template)
  const admin = await connect(server.url('supabase_admin', name))
  if (template === 'migrated') await admin.query('update cron.job set database = current_database()')
  const project = await startProject(server, name, {
    realCron: template === 'called',
    // A job that is due at a full hour is not, whenever these tests run: only those that are due every few seconds.
    next: (schedule, from) => (/second/.test(schedule) ? nextTime(schedule, from) : undefined)
  })
  const db = await connect(project.url)
  const { stop } = project
  let stopped: Promise<unknown> | undefined
  project.stop = async () => {
    stopped ??= Promise.all([tested.db.end(), tested.admin.end(), stop()]).then(() => server.dropDatabase(name))
    await stopped
  }
  afterAll(project.stop)

  const rows = async <T>(sql: string, values?: unknown[]) => (await tested.db.query(sql, values)).rows as T[]
  const last = async (job: string) =>
    (
      await rows<Run>(
        `select runid, status, return_message as message, split_part(return_message, E'\\n', 1) as first,
           extract(epoch from start_time) * 1000 as start, extract(epoch from end_time) * 1000 as end
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
  const tested: TestProject = Object.assign(project, {
    dir,
    db,
    admin,
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

/** A job's command with other durations, in seconds: what the function may take, and when to give up. */
export const shortened = (command: string, [answerWithin, giveUpAfter]: [number, number]): string =>
  command
    .replace(/answer_within constant numeric := [\d.]+/, `answer_within constant numeric := ${answerWithin}`)
    .replace(/give_up_after constant numeric := [\d.]+/, `give_up_after constant numeric := ${giveUpAfter}`)

/** Gives a job its own command with other durations, in seconds. */
export async function shorten(project: TestProject, job: string, answerWithin: number, giveUpAfter: number) {
  const [found] = await project.rows('select jobid, command from cron.job where jobname = $1', [job])
  const command = shortened(found?.command ?? '', [answerWithin, giveUpAfter])
  await project.rows('select cron.alter_job(job_id := $1, command := $2)', [found?.jobid, command])
}

/** Gives every job a literal key in its command, as it was in production, beside what it does now. */
export const holdAKey = (session: pg.Client) =>
  session.query(`
    select cron.alter_job(jobid, command := format('-- ''%s'' called with "Bearer an-opaque-key-of-old"', function) || e'\n' || command)
    from cron.job, substring(command, 'Calls ([\\w-]+)') as function where function is not null`)

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
