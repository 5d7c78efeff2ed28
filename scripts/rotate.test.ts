/** rotate as ops run it: the key is checked, tried, written and read back; where anything fails, nothing is changed. */

import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { fingerprint } from './lib/keys.ts'
import { legacyKey, secretKey } from './stack/keys.ts'
import { ROOT } from './stack/stack.ts'
import { CHATTER, CRM, script, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
let old: string
beforeAll(async () => {
  project = await testProject()
  old = project.functions.key
})
beforeEach(async () => {
  for (const name of ['odoo-crm-sync', 'odoo-chatter-sync']) project.functions.behave(name)
  project.functions.key = old
  project.functions.calls.length = 0
  await project.fill()
})

const rotate = (key: string | undefined, args: string[] = [], env: NodeJS.ProcessEnv = {}) =>
  script('rotate', ['--db-url', project.url, ...args], env, key === undefined ? {} : { input: key })
const inVault = async () =>
  (await project.rows(`select decrypted_secret as key from vault.decrypted_secrets where name = 'service_role_key'`))[0]
    ?.key

test('a key that the functions take is written, and the next run of both jobs uses it', async () => {
  const key = secretKey()
  project.functions.key = key
  const { code, out, err } = await rotate(`${key}\n`)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(await inVault()).toBe(key)
  expect(out).toContain(`Rotated: service_role_key updated, and read back as secret key ${fingerprint(key)}`)
  expect(out).toContain(`revoke the old key (legacy service_role key ${fingerprint(old)})`)
  for (const job of [CRM, CHATTER]) {
    expect(out).toMatch(new RegExp(`${job} runs next at \\d{4}-\\d\\d-\\d\\dT\\d\\d:(00|15|30|45)Z`))
    expect(await project.run(job)).toMatchObject({ status: 'succeeded' })
  }
})

test('a key that the functions refuse is not written', async () => {
  const { code, out, err } = await rotate(secretKey())
  expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/the functions refuse the new key/) })
  expect(out).toMatch(/✗ odoo-crm-sync-incremental {2}odoo-crm-sync: HTTP 401/)
  expect(await inVault()).toBe(old)
})

test('a function that fails otherwise leaves the question open, and the key as it was', async () => {
  const key = secretKey()
  project.functions.key = key
  project.functions.behave('odoo-chatter-sync', { status: 503 })
  const { code, out, err } = await rotate(key)
  expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/could not be told.*--no-try/) })
  expect(out).toMatch(
    /✗ odoo-chatter-sync-hourly {2}odoo-chatter-sync: HTTP 503[\s\S]*✓ odoo-crm-sync-incremental {2}2xx/
  )
  expect(await inVault()).toBe(old)
})

test('the trial sends what the job sends, with the new key', async () => {
  const key = secretKey()
  project.functions.key = key
  await rotate(key, ['--dry-run'])
  expect(project.functions.calls.map(({ key, ...call }) => call).sort((a, b) => a.body.localeCompare(b.body))).toEqual([
    { function: 'odoo-crm-sync', method: 'POST', body: '{"mode": "incremental"}', status: 200 },
    { function: 'odoo-chatter-sync', method: 'POST', body: '{"mode": "missing"}', status: 200 }
  ])
  expect(await inVault()).toBe(old)
})

test('--no-try writes without a call', async () => {
  const key = secretKey()
  expect((await rotate(key, ['--no-try'])).code).toBe(0)
  expect(await inVault()).toBe(key)
  expect(project.functions.calls).toEqual([])
})

test('the same key as now is nothing to do', async () => {
  const before = await project.rows('select * from vault.secrets')
  expect(await rotate(old)).toMatchObject({ code: 0, out: expect.stringMatching(/the same: nothing to do/) })
  expect(await project.rows('select * from vault.secrets')).toEqual(before)
})

test.each(['missing', 'broken', 'empty'])('a row that is %s gets the key', async (state) => {
  if (state === 'missing') await project.rows(`delete from vault.secrets where name = 'service_role_key'`)
  if (state === 'broken')
    await project.admin.query(`update vault.secrets set secret = 'x' where name = 'service_role_key'`)
  if (state === 'empty') await project.fill({ key: '' })
  const { code } = await rotate(old)
  expect(code).toBe(0)
  expect(await inVault()).toBe(old)
})

test('an opaque key is taken with a note', async () => {
  project.functions.key = 'an-opaque-key'
  expect(await rotate('an-opaque-key')).toMatchObject({ code: 0, out: expect.stringMatching(/note: it is neither/) })
  expect(await inVault()).toBe('an-opaque-key')
})

const year = 365 * 24 * 3600
const refused: [string, () => string | undefined, string[], number, RegExp][] = [
  ['a publishable key', () => 'sb_publishable_x', [], 1, /it is the publishable key/],
  ['an expired key', () => legacyKey({ exp: Math.floor(Date.now() / 1000) - year }), [], 1, /expired on \d{4}-/],
  [
    'a key of another project',
    () => legacyKey({ ref: 'zyxwvutsrqponmlkjihg' }),
    [],
    1,
    /is of project zyxwv\w+, and project_url of abcde/
  ],
  ['two line breaks', () => `${secretKey()}\n\n`, [], 1, /white space/],
  ['empty standard input', () => '', [], 1, /no key: pipe it/],
  ['no standard input', () => undefined, [], 1, /no key: pipe it/],
  ['a key as an argument', () => undefined, [secretKey()], 2, /does not belong in the arguments/]
]
test.each(refused)('%s: says so, changes nothing, prints no key', async (_name, key, args, exit, message) => {
  await project.fill({ url: 'https://abcdefghijklmnopqrst.supabase.co' })
  const { code, out, err } = await rotate(key(), args)
  expect(code).toBe(exit)
  expect(err).toMatch(message)
  expect(out + err).not.toMatch(/eyJ|sb_secret_\w|\n {4}at /)
  expect(await inVault()).toBe(old)
  expect(project.functions.calls).toEqual([])
})

test('a job that is running is left to end first', async () => {
  const { started, release } = project.functions.hold('odoo-crm-sync')
  const run = project.run(CRM)
  await started
  expect(await rotate(secretKey())).toMatchObject({ code: 1, err: expect.stringMatching(/is running now/) })
  release()
  await run
  expect(await inVault()).toBe(old)
})

test("a job whose command is not the migration's is not tried, and the others are", async () => {
  const jobs = await project.rows('select jobid, jobname, command from cron.job order by jobname desc')
  const foreign = `select net.http_post('http://127.0.0.1:1', headers := jsonb_build_object('apikey',
    (select decrypted_secret from vault.decrypted_secrets where name = 'service_role_key')))`
  const key = secretKey()
  project.functions.key = key
  await project.rows('select cron.alter_job($1, command := $2)', [jobs[0]?.jobid, foreign])
  const one = await rotate(key, ['--dry-run'])
  await project.rows('select cron.alter_job($1, command := $2)', [jobs[1]?.jobid, foreign])
  const none = await rotate(key)
  for (const job of jobs) await project.rows('select cron.alter_job($1, command := $2)', [job.jobid, job.command])
  expect(one).toMatchObject({
    code: 0,
    out: expect.stringMatching(/incremental: not tried.*[\s\S]*✓ odoo-chatter-sync-hourly/)
  })
  expect(none).toMatchObject({ code: 1, err: expect.stringMatching(/no active job.*--no-try/) })
  expect(await inVault()).toBe(old)
})

test('a schedule that never comes does not make a failure of a rotation that is done', async () => {
  await project.admin.query(`update cron.job set schedule = '0 0 31 2 *' where jobname = '${CRM}'`)
  const key = secretKey()
  const rotated = await rotate(key, ['--no-try'])
  await project.admin.query(`update cron.job set schedule = '*/15 * * * *' where jobname = '${CRM}'`)
  expect(rotated).toMatchObject({ code: 0, err: '' })
  expect(await inVault()).toBe(key)
})

test('killed at any point, Vault holds the old key or the new', { timeout: 60_000 }, async () => {
  const key = secretKey()
  project.functions.key = key
  for (const ms of [250, 350, 400, 450]) {
    await project.fill({ key: old })
    const child = spawn(process.execPath, ['--import', 'tsx/esm', 'scripts/rotate.ts', '--db-url', project.url], {
      cwd: ROOT
    })
    child.stdin.on('error', () => {}).end(key)
    await sleep(ms)
    child.kill('SIGKILL')
    await sleep(200)
    expect([old, key]).toContain(await inVault())
  }
})
