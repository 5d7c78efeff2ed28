/** Stand-in of pg_cron's launcher, in libpq mode as Supabase runs it: starts due jobs, each in a session of its own. */

import pg from 'pg'
import { connect } from '../../lib/database.ts'
import { nextTime } from '../../lib/jobs.ts'
import { hangUp, startWorker, type Worker } from './worker.ts'

interface Job {
  jobid: string
  schedule: string
  command: string
  database: string
  username: string
}

/** A failed statement as libpq words it, which is what pg_cron stores on Supabase. */
function libpqMessage(error: pg.DatabaseError): string {
  const lines = [
    `${error.severity}:  ${error.message}`,
    error.detail !== undefined && `DETAIL:  ${error.detail}`,
    error.hint !== undefined && `HINT:  ${error.hint}`,
    error.internalQuery !== undefined && `QUERY:  ${error.internalQuery}`,
    error.where !== undefined && `CONTEXT:  ${error.where}`
  ]
  return `${lines.filter(Boolean).join('\n')}\n`
}

const SESSION_ENDED =
  'server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n\tbefore or while processing the request.\n'

export interface Scheduler extends Worker {
  /** Starts a job now, as if it were due, whatever its schedule; waits while it is running already. */
  runNow(jobid: string): void
}

/**
 * Starts the launcher of one database.
 * @param socketUrl connection string of a role for a database, without a password (pg_cron uses `trust` too)
 * @param next a schedule's first time after another, in milliseconds since 1970
 */
export function startScheduler(
  socketUrl: (role: string, database: string) => string,
  database: string,
  next: typeof nextTime = nextTime
): Scheduler {
  const due = new Map<string, { schedule: string; at: number }>()
  const waiting = new Map<string, number>()
  const running = new Map<string, pg.Client | undefined>()
  let stopping = false
  // The launcher has one session and does one thing at a time in it.
  let queue: Promise<unknown> = Promise.resolve()
  const ask = <T extends pg.QueryResultRow>(launcher: pg.Client, sql: string, values: unknown[] = []) => {
    const answer = queue.catch(() => {}).then(() => launcher.query<T>(sql, values))
    queue = answer
    return answer
  }

  async function run(launcher: pg.Client, job: Job) {
    const details = await ask<{ runid: string }>(
      launcher,
      `insert into cron.job_run_details (jobid, database, username, command, status)
       values ($1, $2, $3, $4, 'starting') returning runid`,
      [job.jobid, job.database, job.username, job.command]
    )
    const runid = details.rows[0]?.runid
    // pg_cron does this too, unless cron.log_statement is off: whatever a command holds is in the server log.
    await ask(launcher, 'select cron._log($1)', [`cron job ${job.jobid} starting: ${job.command}`])
    const record = (assignments: string, ...values: unknown[]) =>
      stopping || ask(launcher, `update cron.job_run_details set ${assignments} where runid = $1`, [runid, ...values])
    try {
      const session = await connect(socketUrl(job.username, job.database), 'pg_cron')
      running.set(job.jobid, session)
      const pid = (session as unknown as { processID: number }).processID
      await record(`status = 'running', job_pid = $2, start_time = clock_timestamp()`, pid)
      const [status, message] = await execute(session, job.command)
      await record('status = $2, return_message = $3, end_time = clock_timestamp()', status, message)
      await session.end().catch(() => {})
    } catch {
      await record(`status = 'failed', return_message = 'connection failed', start_time = clock_timestamp()`)
    }
  }

  async function execute(session: pg.Client, command: string): Promise<['succeeded' | 'failed', string]> {
    try {
      const results = [await session.query(command)].flat() // a command of several statements has several results
      const last = results.at(-1)
      if (last?.fields?.length) return ['succeeded', last.rowCount === 1 ? '1 row' : `${last.rowCount} rows`]
      const inserted = last?.command === 'INSERT' ? 'INSERT 0' : last?.command
      return ['succeeded', last?.rowCount === null ? `${inserted}` : `${inserted} ${last?.rowCount}`]
    } catch (error) {
      if (error instanceof pg.DatabaseError && error.severity !== 'FATAL') return ['failed', libpqMessage(error)]
      return ['failed', SESSION_ENDED]
    }
  }

  /** Starts what is due. A job that is still running is started again when it has ended: one instance at a time. */
  async function turn(launcher: pg.Client) {
    const now = Date.now()
    const { rows: jobs } = await ask<Job & { active: boolean }>(launcher, 'select * from cron.job')
    for (const job of jobs) {
      const planned = due.get(job.jobid)
      if (planned?.schedule !== job.schedule)
        due.set(job.jobid, { schedule: job.schedule, at: next(job.schedule, now) ?? Number.POSITIVE_INFINITY })
      else if (planned.at <= now) {
        planned.at = next(job.schedule, now) ?? Number.POSITIVE_INFINITY
        if (job.active) waiting.set(job.jobid, (waiting.get(job.jobid) ?? 0) + 1)
      }
      const times = waiting.get(job.jobid) ?? 0
      if (times === 0 || running.has(job.jobid)) continue
      // A job every few seconds that takes longer does not pile up.
      waiting.set(job.jobid, /second/i.test(job.schedule) ? 0 : times - 1)
      running.set(job.jobid, undefined)
      run(launcher, job)
        .catch(() => hangUp(launcher)) // what it cannot record ends the launcher; the next one marks the run
        .finally(() => running.delete(job.jobid))
    }
  }

  const worker = startWorker({
    url: socketUrl('supabase_admin', database),
    name: 'pg_cron scheduler',
    needs: 'cron.job_run_details',
    pause: 100,
    away: 500,
    async begin(launcher) {
      await launcher.query(
        `update cron.job_run_details set status = 'failed', return_message = 'server restarted'
         where status in ('starting', 'connecting', 'sending', 'running')`
      )
    },
    turn
  })

  return {
    runNow(jobid) {
      waiting.set(jobid, (waiting.get(jobid) ?? 0) + 1)
      worker.wake()
    },
    wake: worker.wake,
    async stop() {
      stopping = true
      await worker.stop()
      for (const session of running.values()) if (session) hangUp(session)
    }
  }
}
