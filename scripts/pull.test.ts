/** `supabase db pull --declarative` writes every job of cron.job, command and all, into the repository. */

import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { secretKey } from './stack/keys.ts'
import { ROOT, supabase } from './stack/stack.ts'
import { CRM, holdAKey, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
beforeAll(async () => {
  project = await testProject()
})

/** Pulls the database into a project of its own; resolves to the files, by their path below supabase/schemas. */
async function pull(): Promise<Record<string, string>> {
  const folder = fs.mkdtempSync(path.join(project.dir, 'pull-'))
  fs.cpSync(path.join(ROOT, 'supabase'), path.join(folder, 'supabase'), { recursive: true })
  await supabase(project.dir, 'db', 'pull', '--declarative', `--remote=${project.url}`, '--workdir', folder)
  const schemas = path.join(folder, 'supabase/schemas')
  const files = fs.readdirSync(schemas, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.sql'))
  return Object.fromEntries(files.map((file) => [file, fs.readFileSync(path.join(schemas, file), 'utf8')]))
}
const jobs = () =>
  project.rows('select jobname, schedule, command, database, username, active from cron.job order by 1')

test('what is pulled holds no key, and makes the same jobs in an empty database', { timeout: 60_000 }, async () => {
  const key = secretKey()
  project.functions.key = key
  await project.fill()
  const files = await pull()
  // Names of files only: a failing expectation must not print a key.
  const holding = Object.keys(files).filter((file) => files[file]?.includes(key))
  expect(holding).toEqual([])
  const before = await jobs()
  expect(before).toHaveLength(2)
  await project.admin.query('delete from cron.job')
  await project.rows(files['_cluster/misc.sql'] ?? 'the pull wrote no _cluster/misc.sql')
  expect(await jobs()).toEqual(before)
  expect(await project.run(CRM)).toMatchObject({ status: 'succeeded' })
})

test('a literal key in a command is pulled: it would be in the repository', { timeout: 60_000 }, async () => {
  await holdAKey(project.db)
  expect((await pull())['_cluster/misc.sql']?.includes('Bearer an-opaque-key-of-old')).toBe(true)
})
