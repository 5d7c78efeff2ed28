/** How runs end: the verdict in cron.job_run_details for every way a call can end. */

import { beforeAll, expect, test } from 'vitest'
import { type Case, makeCase, OUTCOMES, type Outcome } from './stack/outcomes.ts'
import { CHATTER, CRM, type Run, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
const made: Case[] = []
const runs: Promise<Run>[] = []

beforeAll(async () => {
  project = await testProject()
  await project.fill()
  const together = [...OUTCOMES.entries()].filter(([, { alone }]) => !alone)
  for (const [at, outcome] of together) made[at] = await makeCase(project, outcome, `case-${at}`)
  for (const [at] of together) runs[at] = project.run(`case-${at}`)
  await Promise.all(runs.filter((run) => run))
}, 60_000)

async function verify(outcome: Outcome, of: Case, run: Run) {
  const message = outcome.message.replaceAll('%', of.name)
  const { status } = run
  expect({ status, begins: run.message.slice(0, message.length) }).toEqual({ status: outcome.status, begins: message })
  await outcome.check?.(of, run)
}

for (const [at, outcome] of OUTCOMES.entries())
  test(outcome.name, async () => {
    if (!outcome.alone) return verify(outcome, made[at] as Case, (await runs[at]) as Run)
    await project.fill()
    project.functions.calls.length = 0
    const of = await makeCase(project, outcome, 'alone') // one job: the real pg_cron is slower to start a new one
    await verify(outcome, of, await project.run(of.name))
  })

test('each run is recorded with its command, role, database and process, and its times are in order', async () => {
  await project.fill()
  const recorded = await project.rows(
    `select jobname, count(*)::int as runs, bool_and(run.command = job.command and run.username = 'postgres' and
       run.database = current_database() and job_pid is not null and end_time >= start_time) as fine
     from cron.job_run_details as run join cron.job using (jobid) group by jobname`
  )
  expect(recorded.filter(({ jobname, fine, runs }) => jobname !== 'alone' && !(fine && Number(runs) === 1))).toEqual([])
  expect(recorded.reduce((sum, { runs }) => sum + Number(runs), 0)).toBe(OUTCOMES.length)
})

test.each(['service_role_key', 'project_url'])(
  'the HINT of a missing %s is the statement that fixes it',
  async (name) => {
    await project.fill()
    await project.rows('delete from vault.secrets where name = $1', [name])
    const { message } = await project.run(CRM)
    const value = name === 'project_url' ? project.functions.url : project.functions.key
    await project.rows(/HINT: {2}(.*)/.exec(message)?.[1]?.replace('<value>', value) ?? '')
    expect(await project.run(CRM)).toMatchObject({ status: 'succeeded' })
  }
)

test('the headers of a request, key included, can be read by every role until the whole batch has ended', async () => {
  await project.fill()
  const { started, release } = project.functions.hold('odoo-chatter-sync')
  const run = project.run(CHATTER)
  await started
  // In one query: the session is polling for the end of the run meanwhile.
  const seen = `select from net.http_request_queue where headers ->> 'Authorization' like 'Bearer _%'`
  const readers = async (role: string) => {
    const results = await project.db.query(`begin; set local role ${role}; ${seen}; rollback`)
    return [results].flat()[2]?.rowCount
  }
  expect(await readers('anon')).toBe(1)
  release()
  expect(await run).toMatchObject({ status: 'succeeded' })
  expect(await readers('anon')).toBe(0)
})

test("the dashboard's Run command fails and sends nothing: it executes the command inside a do block", async () => {
  await project.fill()
  project.functions.calls.length = 0
  const run = `do $run$ begin execute (select command from cron.job where jobname = '${CRM}'); end $run$`
  await expect(project.rows(run)).rejects.toMatchObject({ code: '2D000' })
  expect(await project.rows('select id from net.http_request_queue')).toEqual([])
  expect(project.functions.calls).toEqual([])
})
