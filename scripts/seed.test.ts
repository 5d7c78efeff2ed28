/** seed as a person runs it: what it does, prints and exits with. */

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { fingerprint } from './lib/keys.ts'
import { legacyKey, secretKey } from './stack/keys.ts'
import { script, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
beforeAll(async () => {
  project = await testProject()
})
const secrets = () => project.rows('select name, decrypted_secret as value from vault.decrypted_secrets order by name')
const environment = (more: NodeJS.ProcessEnv = {}) => ({
  DATABASE_URL: project.url,
  PROJECT_URL: project.functions.url,
  SERVICE_ROLE_KEY: project.functions.key,
  ...more
})

test('fills both rows from the environment and says what it did', async () => {
  const { code, out, err } = await script('seed', [], environment())
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(out).toContain(`service_role_key  updated: legacy service_role key ${fingerprint(project.functions.key)}`)
  expect(out).toContain(`project_url       updated: ${project.functions.url}`)
  expect(await secrets()).toEqual([
    { name: 'project_url', value: project.functions.url },
    { name: 'service_role_key', value: project.functions.key }
  ])
})

test('a second time changes nothing', async () => {
  const before = await project.rows('select * from vault.secrets order by name')
  expect((await script('seed', [], environment())).out).toMatch(/left as it was[\s\S]*left as it was/)
  expect(await project.rows('select * from vault.secrets order by name')).toEqual(before)
})

test('creates a row that is missing and replaces one that cannot be decrypted', async () => {
  await project.rows(`delete from vault.secrets where name = 'project_url'`)
  await project.admin.query(`update vault.secrets set secret = 'broken' where name = 'service_role_key'`)
  const { code, out } = await script('seed', [], environment())
  expect(code).toBe(0)
  expect(out).toMatch(/service_role_key {2}replaced[\s\S]*project_url {7}created/)
  expect((await secrets()).map(({ value }) => value)).toEqual([project.functions.url, project.functions.key])
})

test('takes SUPABASE_SERVICE_ROLE_KEY too', async () => {
  const key = secretKey()
  await script('seed', [], environment({ SUPABASE_SERVICE_ROLE_KEY: key }))
  expect((await secrets())[1]?.value).toBe(key)
})

test("on the CLI's stack takes the key from supabase status, and the URL that its containers use", async () => {
  // A stand-in of the CLI: the real `supabase status` needs Docker.
  const key = legacyKey()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cli-'))
  fs.mkdirSync(path.join(folder, 'supabase'))
  const port = new URL(project.url).port
  fs.writeFileSync(
    path.join(folder, 'supabase/config.toml'),
    `[api]\nport = 1\n\n[db]\nmajor_version = 17\nport = ${port}\n`
  )
  const status = JSON.stringify({ DB_URL: project.url, SERVICE_ROLE_KEY: key, API_URL: 'http://127.0.0.1:54321' })
  fs.mkdirSync(path.join(folder, 'bin'))
  fs.writeFileSync(path.join(folder, 'bin/supabase'), `#!/bin/sh\necho '${status}'\n`, { mode: 0o755 })
  const env = environment({ PATH: `${folder}/bin:${process.env.PATH}` })
  const { code, out } = await script('seed', [], env, { cwd: folder })
  fs.rmSync(folder, { recursive: true })
  expect(code).toBe(0)
  expect(out).toContain('from supabase status')
  expect((await secrets()).map(({ value }) => value)).toEqual(['http://api.supabase.internal:8000', key])
})

const refused: [string, NodeJS.ProcessEnv, string[], number, RegExp][] = [
  ['no key', { SERVICE_ROLE_KEY: '' }, [], 1, /no key: .*set SUPABASE_SERVICE_ROLE_KEY/],
  ['a publishable key', { SERVICE_ROLE_KEY: 'sb_publishable_x' }, [], 1, /publishable key/],
  ['a URL with a path', { PROJECT_URL: 'https://x.supabase.co/functions/v1' }, [], 1, /without a path/],
  [
    'no database',
    { DATABASE_URL: 'postgresql://postgres:x@127.0.0.1:1/postgres' },
    [],
    1,
    /127\.0\.0\.1:1.*supabase start/
  ],
  ['a URL that is none', { DATABASE_URL: 'localhost' }, [], 2, /looks like postgresql:/],
  [
    'a remote database',
    { DATABASE_URL: 'postgresql://postgres:x@db.example.com/postgres' },
    [],
    1,
    /not a local database.*--into db\.example\.com/
  ],
  ['an argument', {}, ['x'], 2, /unexpected argument/],
  ['a key as an argument', {}, [secretKey()], 2, /does not belong in the arguments/]
]
test.each(refused)('%s: says so, changes nothing, prints no key', async (_name, env, args, exit, message) => {
  const before = await secrets()
  const { code, out, err } = await script('seed', args, environment(env))
  expect({ code, out }).toEqual({ code: exit, out: '' })
  expect(err).toMatch(message)
  expect(err).not.toMatch(/eyJ|sb_secret_\w|\n {4}at /)
  expect(await secrets()).toEqual(before)
})

test('a wrong password, and a database that is not there, are named', async () => {
  const url = new URL(project.url)
  url.password = 'wrong'
  expect((await script('seed', ['--db-url', url.href], environment())).err).toMatch(/wrong password for postgres/)
  expect((await script('seed', ['--db-url', `${project.url}x`], environment())).err).toMatch(/no such database/)
})

test('a database without Vault says to run the migration', async () => {
  await project.admin.query('drop extension supabase_vault')
  const { code, err } = await script('seed', [], environment())
  project = await testProject()
  expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/no Vault: run the migration first/) })
})
