/** `npm run test:supabase` and `npm run bench -- --named` empty a database: only one that is to be thrown away. */

import { beforeAll, expect, test } from 'vitest'
import { CRM, script, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
let env: Record<string, string>
beforeAll(async () => {
  project = await testProject()
  await project.fill()
  env = { DATABASE_URL: project.url, DATABASE_ADMIN_URL: project.adminUrl }
})

const ELSEWHERE = {
  DATABASE_URL: 'postgresql://postgres:secret@db.example.com/postgres',
  DATABASE_ADMIN_URL: 'postgresql://supabase_admin:secret@db.example.com/postgres'
}
const refused: [string, () => Record<string, string>, string[], RegExp][] = [
  ['no database', () => ({}), [], /DATABASE_URL is not set/],
  ['no superuser', () => ({ DATABASE_URL: project.url }), [], /DATABASE_ADMIN_URL is not set/],
  ['two databases', () => ({ ...env, DATABASE_ADMIN_URL: `${project.adminUrl}_2` }), [], /name one database/],
  [
    'a host that is not local',
    () => ELSEWHERE,
    [],
    /db\.example\.com:5432\/postgres is not local.*--throw-away db\.example\.com/
  ],
  [
    'another host than the one spelled out',
    () => ELSEWHERE,
    ['--throw-away', 'db.example.org'],
    /--throw-away db\.example\.com/
  ],
  ['a log that is not there', () => ({ ...env, SERVER_LOG: '/no/such/file' }), [], /SERVER_LOG: there is no file/]
]
test.each(refused)('%s: refused', async (_what, variables, args, message) => {
  const { code, err } = await script('test-supabase', args, variables())
  expect({ code, err }).toEqual({ code: 2, err: expect.stringMatching(message) })
  expect(err).not.toContain('secret')
})

const used: [string, string, string, RegExp][] = [
  [
    'a user table',
    'create table public.customers ()',
    'drop table public.customers',
    /tables in public \(1, such as customers\)/
  ],
  [
    "a job that is not the migration's",
    `select cron.schedule('nightly', '0 0 1 1 *', 'select 1')`,
    `select cron.unschedule('nightly')`,
    /job \d+ \(nightly\)/
  ],
  [
    "a job of the migration's name with another command",
    `update cron.job set command = 'select 1' where jobname = '${CRM}'`,
    'select 1',
    /job 1 \(odoo-crm-sync-incremental\), which is not the migration's/
  ]
]
test.each(used)('a database with %s: refused, and nothing is changed', async (_what, make, undo, message) => {
  await project.admin.query(make)
  const state = () => project.rows('select * from vault.secrets, cron.job order by 1, jobid')
  const before = await state()
  for (const args of [['test-supabase'], ['bench', '--named']] as const) {
    const { code, err } = await script(args[0], args.slice(1), env)
    expect({ code, err }).toEqual({ code: 2, err: expect.stringMatching(message) })
  }
  expect(await state()).toEqual(before)
  await project.admin.query(undo)
})
