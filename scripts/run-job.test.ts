/** run-job as a person runs it: what it does, prints and exits with. */

import { beforeAll, expect, test } from 'vitest'
import { secretKey } from './stack/keys.ts'
import { CRM, NAMED_DATABASE, script, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
beforeAll(async () => {
  project = await testProject()
})

const runJob = (...args: string[]) => script('run-job', [...args, '--db-url', project.url])

test('runs the command of the job and shows that it succeeded; pg_cron has no part in it', async () => {
  await project.fill()
  expect(await runJob(CRM)).toMatchObject({
    code: 0,
    out: expect.stringMatching(/succeeded after \d+\.\d s\n$/),
    err: ''
  })
  expect(project.functions.calls.at(-1)).toMatchObject({ function: 'odoo-crm-sync', status: 200 })
  expect(await project.rows('select * from cron.job_run_details')).toEqual([])
})

test('shows the reason where it fails', async () => {
  await project.fill({ key: secretKey() })
  const { code, out } = await runJob(CRM)
  expect(code).toBe(1)
  expect(out).toMatch(/failed after .*: odoo-crm-sync: HTTP 401\n {2}DETAIL: {2}{"error":"Unauthorized"}\n$/)
})

test('an unknown job is answered with the ones there are', async () => {
  const { code, err } = await runJob('odoo')
  expect({ code, err }).toEqual({
    code: 1,
    err: 'Error: there is no job "odoo". Jobs: odoo-chatter-sync-hourly, odoo-crm-sync-incremental\n'
  })
})

test('no job, or two, is wrong use', async () => {
  expect((await runJob()).code).toBe(2)
  expect((await runJob(CRM, CRM)).code).toBe(2)
})

test('a job that is running is left to end first', async () => {
  await project.fill()
  const { started, release } = project.functions.hold('odoo-crm-sync')
  const run = project.run(CRM)
  await started
  expect(await runJob(CRM)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/running now, since \d\d:\d\d:\d\d GMT/)
  })
  release()
  await run
})

if (!NAMED_DATABASE)
  test('a database without pg_cron says to run the migration', async () => {
    const fresh = await testProject('fresh')
    expect(await script('run-job', [CRM, '--db-url', fresh.url])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/no pg_cron: run the migration first/)
    })
  })
