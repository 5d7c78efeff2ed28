/** The outcome of a run, as cron.job_run_details has it, for every way a call can end; and how a run waits. */

import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { OUTCOMES } from './stack/outcomes.ts'
import { CRM, shorten, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
beforeAll(async () => {
  project = await testProject()
})
beforeEach(async () => {
  project.functions.behave('odoo-crm-sync')
  project.functions.calls.length = 0
  await project.fill()
})

for (const { name, arrange, durations, status, message, check } of OUTCOMES)
  test(name, async () => {
    await shorten(project, CRM, ...(durations ?? [50, 110]))
    await arrange?.(project)
    const run = await project.run(CRM)
    expect({ status: run.status, begins: run.message.slice(0, message.length) }).toEqual({ status, begins: message })
    await check?.(project, run)
  })

test.each(['service_role_key', 'project_url'])(
  'the HINT of a missing %s is the statement that mends it',
  async (name) => {
    await shorten(project, CRM, 50, 110)
    await project.rows('delete from vault.secrets where name = $1', [name])
    const { message } = await project.run(CRM)
    const value = name === 'project_url' ? project.functions.url : project.functions.key
    await project.rows(/HINT: {2}(.*)/.exec(message)?.[1]?.replace('<value>', value) ?? '')
    expect(await project.run(CRM)).toMatchObject({ status: 'succeeded' })
  }
)

describe('how it waits', () => {
  test.each([
    ['within 150 ms of the response for a fast call', 200, 150],
    ['no more than 5 % late (and 100 ms) for a long one', 4000, 300]
  ])('the verdict comes %s', async (_name, delay, late) => {
    project.functions.behave('odoo-crm-sync', { delay })
    const run = project.run(CRM)
    let visible = 0
    while (!visible) {
      const found = await project.rows(
        "select 1 from net._http_response where created > now() - interval '5 s' and id = (select max(id) from net._http_response)"
      )
      if (found.length && project.functions.calls[0]?.status) visible = Date.now()
      await sleep(5)
    }
    expect((await run).end - visible).toBeLessThan(late)
  })

  test('a poll reads the index: under 1 ms with 100,000 responses', async () => {
    await project.rows(`insert into net._http_response (id, status_code, created)
      select -n, 200, now() - n * interval '200 ms' from generate_series(1, 100000) as n`)
    const [job] = await project.rows('select command from cron.job where jobname = $1', [CRM])
    const poll = /select \* into answer (from net\._http_response[^;]*);/.exec(job?.command ?? '')?.[1]
    await project.rows(
      `prepare poll (bigint, timestamptz) as select * ${poll?.replace('request', '$1').replace('posted', '$2')}`
    )
    const [plan] = await project.rows<{ 'QUERY PLAN': [{ 'Execution Time': number }] }>(
      'explain (analyze, format json) execute poll (1, now())'
    )
    expect(plan?.['QUERY PLAN'][0]['Execution Time']).toBeLessThan(1)
    await project.rows('delete from net._http_response')
  })
})
