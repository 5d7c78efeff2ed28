/** How a run waits for its response. */

import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { CRM, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
beforeAll(async () => {
  project = await testProject()
})
beforeEach(async () => {
  project.functions.behave('odoo-crm-sync')
  project.functions.calls.length = 0
  await project.fill()
})

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
