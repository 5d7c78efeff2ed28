/** The SQL in the README does what the README says. */

import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import type { Finding } from './lib/checks.ts'
import { secretKey } from './stack/keys.ts'
import { ROOT } from './stack/stack.ts'
import { CRM, script, type TestProject, testProject } from './stack/testing.ts'

const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8')
const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'))

/** The SQL block after `<!-- test: name -->`. */
const sql = (name: string) =>
  new RegExp(`<!-- test: ${name} -->\\s*\`\`\`sql\\n([^\`]*)`).exec(readme)?.[1] ?? 'no such block'

let project: TestProject
beforeAll(async () => {
  project = await testProject()
})
const secrets = () => project.rows('select decrypted_secret as value from vault.decrypted_secrets order by name')

test.each(['there', 'missing'])('the rows can be filled where they are %s', async (state) => {
  if (state === 'missing') await project.rows('delete from vault.secrets')
  const key = secretKey()
  const url = 'https://abcdefghijklmnopqrst.supabase.co'
  const results = await project.db.query(sql('fill').replace('<key>', key).replace('https://<ref>.supabase.co', url))
  expect([results].flat().map((result) => Object.values(result.rows[0]))).toEqual([['filled'], ['filled']])
  expect(await secrets()).toEqual([{ value: url }, { value: key }])
})

test('one statement rotates, and says NO SUCH ROW where it hit none', async () => {
  const key = secretKey()
  expect(await project.rows(sql('rotate').replace('<new key>', key))).toEqual([{ case: 'rotated' }])
  expect((await secrets())[1]?.value).toBe(key)
  await project.rows(`delete from vault.secrets where name = 'service_role_key'`)
  expect(await project.rows(sql('rotate'))).toEqual([{ case: 'NO SUCH ROW' }])
})

test('failed runs show, history is measured and purged', async () => {
  await project.run(CRM)
  expect(await project.rows(sql('runs'))).toMatchObject([{ jobname: CRM, status: 'failed' }])
  expect(await project.rows(sql('size'))).toMatchObject([{ runs: '1' }])
  await project.rows(sql('purge'))
  await project.rows(`update cron.job_run_details set end_time = now() - interval '31 days'`)
  await project.run('purge-cron-history')
  expect(await project.rows(sql('runs'))).toEqual([])
})

test('the role of sync health sees the jobs and their runs, and names what it cannot see', async () => {
  project = await testProject()
  const role = `sync_health_${project.database}`
  await project.fill({ key: secretKey() })
  await project.run(CRM)
  await project.rows(sql('sync_health').replaceAll('sync_health', role).replace('<password>', 'postgres'))
  const url = new URL(project.url)
  url.username = role
  const { code, out } = await script('doctor', ['--db-url', url.href, '--json'])
  const { findings } = JSON.parse(out)
  expect(code).toBe(1)
  const titles = (level: string) =>
    findings.filter((finding: Finding) => finding.level === level).map(({ title }: Finding) => title)
  expect(titles('failure')).toEqual([`${CRM}: the last run was refused`])
  expect(titles('unseen')).toContain('Vault')
  expect(out).toContain('active, the migration')
})

test('every command that it names is there', () => {
  const named = [...readme.matchAll(/npm run (?:-s )?([\w:-]+)/g)].map((match) => match[1])
  expect(named.filter((name) => !(name && name in manifest.scripts))).toEqual([])
})
