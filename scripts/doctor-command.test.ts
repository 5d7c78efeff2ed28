/** doctor as ops run it, on any database: its exit code, and what it prints of the worst findings. */

import { beforeAll, expect, test } from 'vitest'
import { describe as shown } from './lib/keys.ts'
import { secretKey } from './stack/keys.ts'
import { CHATTER, CRM, script, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
beforeAll(async () => {
  project = await testProject()
  project.functions.key = secretKey()
  await project.fill()
})
const doctor = () => script('doctor', ['--db-url', project.url])

test('exit code 0 where both jobs succeeded, and the key by its fingerprint', async () => {
  for (const job of [CRM, CHATTER]) await project.run(job)
  const { code, out, err } = await doctor()
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(out).toContain(shown(project.functions.key))
  for (const job of [CRM, CHATTER]) expect(out).toMatch(new RegExp(`${job}: last success`))
})

test('exit code 1 where the function refuses the key, with the command that fixes it', async () => {
  const key = secretKey()
  await project.fill({ key })
  await project.run(CRM)
  const { code, out } = await doctor()
  expect(code).toBe(1)
  expect(out).toMatch(/odoo-crm-sync-incremental: the last run was refused[\s\S]*HTTP 401[\s\S]*npm run rotate/)
  expect(out.includes(key)).toBe(false)
  await project.fill()
  await project.run(CRM)
})

test('exit code 1 where the Vault row is missing, with the statement that fixes it', async () => {
  await project.rows(`delete from vault.secrets where name = 'service_role_key'`)
  const { code, out } = await doctor()
  expect(code).toBe(1)
  const fix = /select vault\.update_secret\(vault\.create_secret\('', 'service_role_key'\), '<value>'\);/.exec(out)?.[0]
  await project.rows((fix ?? 'no fix').replace('<value>', project.functions.key))
  expect((await doctor()).code).toBe(0)
})
