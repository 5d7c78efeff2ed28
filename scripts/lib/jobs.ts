/** The jobs in cron.job, and how to run one now. */

import { Cron } from 'croner'
import pg from 'pg'
import { lostAfter } from './template.ts'
import { Failure } from './terminal.ts'

export interface Job {
  jobid: string
  jobname: string
  schedule: string
  command: string
  active: boolean
}

/** How a command ended. `message` is the reason, `more` its DETAIL and HINT lines. */
export interface Verdict {
  succeeded: boolean
  message: string
  more: string[]
}

/** The named jobs of the session's role. @throws Failure where the database has no pg_cron */
export async function ownJobs(session: pg.Client): Promise<Job[]> {
  const { rows: there } = await session.query("select to_regclass('cron.job') is not null as pg_cron")
  if (!there[0].pg_cron) throw new Failure('this database has no pg_cron: run the migration first')
  const { rows } = await session.query<Job>(
    `select jobid, jobname, schedule, command, active from cron.job
     where username = current_user and jobname is not null order by jobname`
  )
  return rows
}

/** @throws Failure where the job is running at the moment; a row that is older than a run may wait is of a run that was lost in a crash */
export async function refuseWhileRunning(session: pg.Client, job: Job): Promise<void> {
  const { rows: running } = await session.query(
    `select to_char(start_time at time zone 'utc', 'HH24:MI:SS') as since from cron.job_run_details
     where jobid = $1 and status = 'running' and end_time is null and start_time > now() - $2 * interval '1 second'`,
    [job.jobid, lostAfter(job.command)]
  )
  if (running[0])
    throw new Failure(`${job.jobname} is running now, since ${running[0].since} GMT: try again when it has ended`)
}

/**
 * A job of the session's role, by name.
 * @throws Failure that lists the jobs where there is none of that name, or where it is running at the moment
 */
export async function findJob(session: pg.Client, name: string): Promise<Job> {
  const jobs = await ownJobs(session)
  const job = jobs.find(({ jobname }) => jobname === name)
  if (!job) {
    const names = jobs.map(({ jobname }) => jobname).join(', ')
    throw new Failure(
      `there is no job "${name}". ${names ? `Jobs: ${names}` : 'There are no jobs: run the migration first'}`
    )
  }
  await refuseWhileRunning(session, job)
  return job
}

/** Runs a job's command as pg_cron would, as the only statement of the session. Throws where the session ends. */
export async function runCommand(session: pg.Client, command: string): Promise<Verdict> {
  try {
    await session.query(command)
    return { succeeded: true, message: '', more: [] }
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error
    const more = [error.detail && `DETAIL:  ${error.detail}`, error.hint && `HINT:  ${error.hint}`]
    return { succeeded: false, message: error.message, more: more.filter((line) => typeof line === 'string') }
  }
}

/**
 * Milliseconds since 1970 of a schedule's first time after `from`; undefined where it has none, or is not understood (the
 * library does not know all that pg_cron takes: '@reboot', for one). Times are GMT, as pg_cron's are.
 */
export function nextTime(schedule: string, from: number): number | undefined {
  const seconds = /^\s*(\d+)\s+seconds?\s*$/i.exec(schedule)?.[1]
  if (seconds) return from + Number(seconds) * 1000
  try {
    const pattern = schedule.replace(/\$/g, 'L') // pg_cron's sign for the last day of the month
    return new Cron(pattern, { timezone: 'UTC' }).nextRun(new Date(from))?.getTime()
  } catch {
    return undefined
  }
}
