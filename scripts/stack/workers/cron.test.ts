/** The stand-in of pg_cron runs jobs and records them as the real one was measured to. */

import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { type TestProject, testProject } from '../testing.ts'

let project: TestProject
beforeAll(async () => {
  project = await testProject()
})

const schedule = async (name: string, when: string, command: string) =>
  (await project.rows<{ id: string }>('select cron.schedule($1, $2, $3) as id', [name, when, command]))[0]?.id
const runs = (job: string) =>
  project.rows('select * from cron.job_run_details join cron.job using (jobid) where jobname = $1 order by runid', [
    job
  ])

test('a job runs every few seconds, each time in a session of its own', async () => {
  await schedule('often', '1 second', 'select pg_backend_pid()')
  await expect.poll(async () => (await runs('often')).length, { timeout: 6000 }).toBeGreaterThan(2)
  await project.rows(`select cron.unschedule('often')`)
  const pids = await project.rows(
    `select distinct job_pid from cron.job_run_details where command like '%pg_backend_pid%'`
  )
  expect(pids.length).toBeGreaterThan(2)
})

test('one instance of a job runs at a time', async () => {
  const id = await schedule('slow', '0 0 1 1 *', 'select pg_sleep(0.3)')
  for (let times = 0; times < 3; times++) project.scheduler.runNow(id ?? '')
  await expect.poll(async () => (await runs('slow')).filter((run) => run.end_time).length, { timeout: 5000 }).toBe(3)
  const times = await runs('slow')
  for (const [at, run] of times.entries())
    if (at > 0) expect(Number(run.start_time)).toBeGreaterThanOrEqual(Number(times[at - 1]?.end_time))
})

test('a paused job does not run', async () => {
  const id = await schedule('paused', '1 second', 'select 1')
  await project.rows('select cron.alter_job($1, active := false)', [id])
  await sleep(1500)
  expect(await runs('paused')).toEqual([])
})

test('a run whose session is terminated says so', async () => {
  const id = await schedule('killed', '0 0 1 1 *', 'select pg_sleep(10)')
  project.scheduler.runNow(id ?? '')
  await expect.poll(async () => (await runs('killed'))[0]?.status).toBe('running')
  await project.rows(`select pg_terminate_backend(job_pid) from cron.job_run_details where status = 'running'`)
  await expect
    .poll(async () => (await runs('killed'))[0])
    .toMatchObject({
      status: 'failed',
      return_message: expect.stringMatching(/^server closed the connection unexpectedly/)
    })
})

test('a cancelled run says so', async () => {
  const id = await schedule('cancelled', '0 0 1 1 *', 'select pg_sleep(10)')
  project.scheduler.runNow(id ?? '')
  await expect.poll(async () => (await runs('cancelled'))[0]?.status).toBe('running')
  await project.rows(`select pg_cancel_backend(job_pid) from cron.job_run_details where status = 'running'`)
  expect((await project.ended('cancelled', '0')).message).toBe('ERROR:  canceling statement due to user request\n')
})

test('a run that its launcher lost is marked by the next one', async () => {
  const id = await schedule('lost', '0 0 1 1 *', 'select pg_sleep(2)')
  project.scheduler.runNow(id ?? '')
  await expect.poll(async () => (await runs('lost'))[0]?.status).toBe('running')
  await project.admin.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'pg_cron scheduler' and datname = current_database()`)
  await expect
    .poll(async () => (await runs('lost'))[0], { timeout: 5000 })
    .toMatchObject({
      status: 'failed',
      return_message: 'server restarted',
      end_time: null
    })
})

test('an open change of the history row of a run in progress holds up every job, as it does the real launcher', async () => {
  const id = await schedule('held', '0 0 1 1 *', 'select pg_sleep(0.3)')
  await schedule('bystander', '0 0 1 1 *', 'select 1')
  project.scheduler.runNow(id ?? '')
  await expect.poll(async () => (await runs('held'))[0]?.status).toBe('running')
  await project.admin.query('begin')
  await project.admin.query(`update cron.job_run_details set command = command where status = 'running'`)
  await sleep(500)
  const bystander = project.run('bystander')
  await sleep(500)
  expect(await runs('bystander')).toEqual([])
  await project.admin.query('commit')
  expect(await bystander).toMatchObject({ status: 'succeeded' })
})

test.each([
  '* * * *',
  '61 seconds',
  'hourly',
  '61 * * * *',
  '0 24 * * *',
  '0 0 32 * *',
  '*/0 * * * *',
  '5/2 * * * *',
  '0 0 * * 8'
])('the schedule "%s" is refused', async (when) => {
  await expect(schedule('bad', when, 'select 1')).rejects.toThrow(`invalid schedule: ${when}`)
})

test("a job of another role's name is a second job", async () => {
  await schedule('twin', '0 0 1 1 *', 'select 1')
  await project.admin.query(`select cron.schedule('twin', '0 0 1 1 *', 'select 2')`)
  expect(await project.rows(`select username from cron.job where jobname = 'twin' order by jobid`)).toEqual([
    { username: 'postgres' },
    { username: 'supabase_admin' }
  ])
  await expect(
    project.rows(`select cron.alter_job(jobid, active := false) from cron.job where username = 'supabase_admin'`)
  ).rejects.toThrow(/Job \d+ does not exist or you don't own it/)
})
