/** Where a key can be read: in Vault and nowhere else, whatever is done with it and however that fails. */

import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { connect } from './lib/database.ts'
import type { Behaviour } from './stack/functions.ts'
import { legacyKey, secretKey } from './stack/keys.ts'
import { ownTemp } from './stack/leftovers.ts'
import { search } from './stack/search.ts'
import {
  CHATTER,
  CRM,
  occupy,
  processes,
  restore,
  script,
  shorten,
  type TestProject,
  testProject
} from './stack/testing.ts'

const VAULT = 'vault.decrypted_secrets'
const LINUX = fs.existsSync('/proc/self/environ') // elsewhere ps shows the command lines, and no environment
const LOGGING = [
  `log_statement = 'ddl'`,
  'log_min_duration_statement = 0',
  'log_min_error_statement = debug5',
  `log_error_verbosity = 'verbose'`,
  'log_parameter_max_length_on_error = -1',
  `pg_stat_statements.track = 'all'`
]

const temp = ownTemp()
let project: TestProject
let watcher: pg.Client
let watching: Promise<void>
let over = false

beforeAll(async () => {
  project = await testProject()
  watcher = await connect(project.adminUrl)
  // The test's own sessions are there already: what they bind is not logged.
  await project.admin.query(LOGGING.map((setting) => `alter database ${project.database} set ${setting};`).join(''))
  watching = (async () => {
    for (; !over; await sleep(50)) await watch(watcher)
  })()
})
afterAll(async () => {
  over = true
  await watching
  const names = LOGGING.map((setting) => setting.split(' ')[0])
  await watcher.query(names.map((name) => `alter database ${project.database} reset ${name};`).join(''))
  await watcher.end()
})
beforeEach(() => project.functions.behave('odoo-crm-sync'))

/** What could be read at some time, by place. */
const seen = new Map<string, Set<string>>()
const see = (place: string, text: string) => seen.set(place, (seen.get(place) ?? new Set()).add(text))

/** What `get` gives, unless the file is gone meanwhile, or another user's. */
function ifThere<T>(get: () => T, otherwise: T): T {
  try {
    return get()
  } catch {
    return otherwise
  }
}
const read = (file: string) => ifThere(() => fs.readFileSync(file), Buffer.alloc(0))

/** Command lines whose environment was seen, by process id. */
const known = new Map<string, string>()

/** Sees what does not last: processes, sessions, and the statistics, which another test file resets. */
async function watch(watcher: pg.Client) {
  const add = (command: string, environment: string) => {
    const name = /scripts\/([\w-]+)\.ts/.exec(command)?.[1] ?? path.basename(command.split(' ')[0] ?? '')
    see(`command line of ${name}`, command)
    see(`environment of ${name}`, environment)
  }
  for (const pid of LINUX ? fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)) : []) {
    const command = () => read(`/proc/${pid}/cmdline`).toString().replaceAll('\0', ' ')
    const before = command()
    if (known.get(pid) === before) continue // an environment stays as it was
    const environment = read(`/proc/${pid}/environ`).toString()
    const now = command() // another one than before, where a child has just become its program
    if (now === before) known.set(pid, now)
    if (now) add(now, environment)
  }
  if (!LINUX) for (const command of processes()) add(command, '')
  const { rows } = await watcher.query(
    `select 'pg_stat_activity' as place, query from pg_stat_activity where query <> ''
     union all select 'pg_stat_statements', query from extensions.pg_stat_statements
     where dbid = (select oid from pg_database where datname = current_database())`
  )
  for (const { place, query } of rows) see(place, query)
}

/** The files below a folder, but for those that `skip` names. */
function files(folder: string, skip: (file: string) => boolean): string[] {
  return ifThere(() => fs.readdirSync(folder, { withFileTypes: true }), []).flatMap((entry) => {
    const file = path.join(folder, entry.name)
    if (skip(file)) return []
    return entry.isDirectory() ? files(file, skip) : entry.isFile() ? [file] : []
  })
}

/**
 * Where each key, or a part of it, stands: tables and views that one of the sessions may read, temporary files, the
 * server's log and data, and what was seen. Without pg_net's files: the server may have written the headers there, or not.
 */
async function leaks(keys: string[], sessions = [project.db]): Promise<string[][]> {
  // A text may be cut off: the beginning of a secret key is enough. All JWTs begin alike.
  const parts = keys.map((key) => (key.startsWith('eyJ') ? key.split('.').slice(1) : [key.slice(0, 20)]))
  const found = keys.map(() => new Set<string>())
  const look = (place: string, has: (part: string) => boolean) => {
    for (const [at, of] of parts.entries()) if (of.some(has)) found[at]?.add(place)
  }
  for (const relations of await Promise.all(sessions.map((session) => search(session, parts.flat()))))
    for (const [at, part] of parts.flat().entries())
      for (const relation of relations[at] ?? []) look(relation, (one) => one === part)

  await project.admin.query('checkpoint') // tables and WAL are on disk then
  const { rows } = await project.admin.query<{ file: string }>(
    `select pg_relation_filepath(oid) as file from pg_class where relnamespace = 'net'::regnamespace and relkind = 'r'`
  )
  const skip = (file: string) =>
    rows.some((unlogged) => file.endsWith(unlogged.file)) ||
    (/\/base\/\d+$/.test(file) && !rows[0]?.file.startsWith(`base/${path.basename(file)}/`)) // another test's database
  for (const folder of [temp, project.data ?? []].flat())
    for (const file of files(folder, skip)) {
      const content = read(file)
      look(path.relative(folder, file), (part) => content.includes(part))
    }
  const log = project.log()
  if (log !== undefined) look('server.log', (part) => log.includes(part))
  for (const [place, texts] of seen) for (const text of texts) look(place, (part) => text.includes(part))
  return found.map((places) => [...places].sort())
}

/** A failing expectation must not print a key. */
const hide = (text: string) => text.replace(/eyJ[\w-]{8,}[\w.-]*|sb_secret_[\w-]+/g, '<a key>')

async function command(name: string, args: string[] = [], input?: string, env: NodeJS.ProcessEnv = {}) {
  const own = { DATABASE_URL: project.url, TMPDIR: temp, HOME: temp, ...env }
  const { code, out, err } = await script(name, args, own, input === undefined ? {} : { input })
  see(`output of ${name}`, out + err)
  return hide(`${code}: ${out}${err}`)
}

async function run(job: string) {
  const { status, message } = await project.run(job)
  return hide(`${status}: ${message}`)
}

const echo: Behaviour = {
  respond(request, response) {
    response.writeHead(500, { 'sb-error-code': request.headers.apikey })
    response.end(JSON.stringify(request.headers))
  }
}

test('seeded, run, failed, rotated and examined, the key stands in Vault alone', { timeout: 60_000 }, async () => {
  const { functions, rows, admin } = project
  const old = legacyKey()
  const key = secretKey()

  // tsx compiles a command in a child that inherits the environment, the first time only: seed is compiled without the key.
  const empty = await Promise.all([command('seed'), command('run-job', [CRM])])
  expect(empty).toEqual([
    expect.stringMatching(/^1: .*no key/),
    expect.stringMatching(/^1: [\s\S]*"service_role_key" is empty/)
  ])
  functions.key = old
  const given = { SERVICE_ROLE_KEY: old, PROJECT_URL: functions.url }
  expect(await command('seed', [], undefined, given)).toMatch(/^0: /)
  for (const job of [CRM, CHATTER]) expect(await run(job)).toBe('succeeded: DO')

  functions.key = 'another'
  expect(await run(CRM)).toMatch(/^failed: .*HTTP 401\n/)
  await admin.query('revoke execute on function vault.update_secret from postgres, service_role')
  const refused = [command('doctor'), command('rotate', [], key), command('rotate', ['--no-try'], key)]
  expect(await Promise.all(refused)).toEqual([
    expect.stringMatching(/^1: [\s\S]*: the last run was refused/),
    expect.stringMatching(/^1: [\s\S]*the functions refuse the new key/),
    expect.stringMatching(/^1: [\s\S]*permission denied for function update_secret/)
  ])
  await admin.query('grant execute on function vault.update_secret to postgres, service_role')

  functions.behave('odoo-crm-sync', echo)
  functions.key = key
  expect(await run(CRM)).toMatch(/^failed: .*HTTP 500\nDETAIL: .*Bearer \[key\]/)
  expect(await command('rotate', [], key)).toMatch(
    /^1: [\s\S]*HTTP 500 \[key\]\n.*Bearer \[key\][\s\S]*could not be told/
  )

  functions.key = old
  const { started, release } = functions.hold('odoo-crm-sync')
  const cancelled = run(CRM)
  await started
  await rows(`select pg_cancel_backend(job_pid) from cron.job_run_details where status = 'running'`)
  expect(await cancelled).toMatch(/^failed: .*canceling statement due to user request\n/)
  release()
  await shorten(project, CRM, 0.2, 10)
  functions.behave('odoo-crm-sync', { delay: 500 })
  expect(await run(CRM)).toMatch(/^failed: .*no answer within 0.2 s/)
  functions.behave('odoo-crm-sync')
  await restore(project, CRM)
  await project.fill({ url: 'http://127.0.0.1:1' })
  expect(await run(CRM)).toMatch(/^failed: .*connect/)
  await project.fill({ key: `${old}\n` })
  expect(await run(CRM)).toMatch(/^failed: .*"service_role_key" is malformed\n/)
  await rows(`delete from vault.secrets where name = 'service_role_key'`)
  const missing = await run(CRM)
  expect(missing).toMatch(/^failed: .*"service_role_key" is missing\n/)
  await rows(/HINT: {2}(.*)/.exec(missing)?.[1]?.replace(`'<value>'`, '$1') ?? '', [old])
  // What was answered, and echoed, is kept for six hours; pg_net deletes it when it next sends something.
  await rows(`update net._http_response set created = created - interval '7 hours'`)
  expect(await run(CRM)).toBe('succeeded: DO')

  functions.key = key
  expect(await command('rotate', ['--dry-run'], key)).toMatch(/^0: [\s\S]*nothing was changed/)
  expect(await command('rotate', [], key)).toMatch(/^0: [\s\S]*Rotated/)
  for (const job of [CRM, CHATTER]) expect(await run(job)).toBe('succeeded: DO')
  const healthy = await Promise.all([command('run-job', [CHATTER]), command('doctor', ['--json'])])
  expect(healthy).toEqual([
    expect.stringMatching(/^0: .*\nsucceeded/),
    expect.stringMatching(/^0: {\n {2}"healthy": true,/)
  ])

  const [last] = await rows('select job_pid as pid from cron.job_run_details order by runid desc limit 1')
  const log = project.log()
  const duration = new RegExp(`\\b${last?.pid}\\b.* LOG: .*duration: .*statement: -- supabase-cron-vault`)
  if (log !== undefined) expect(duration.test(log)).toBe(true) // the log does log
  for (const place of ['pg_stat_activity', 'pg_stat_statements'])
    expect([...(seen.get(place) ?? [])].some((query) => /^(-- supabase-cron-vault|do \$job\$)/.test(query))).toBe(true)
  // The old key was in the environment that the caller gave seed.
  expect(await leaks([old, key], [project.db, project.admin])).toEqual([LINUX ? ['environment of seed'] : [], [VAULT]])
})

test('pg_net itself shows it to every role: while a request is queued, and where a function echoes it', async () => {
  // Without the request that keeps the worker busy.
  const queued = () => project.rows(`select id from net.http_request_queue where url like '%/odoo-%'`)
  const key = secretKey()
  project.functions.key = key
  await project.fill()
  project.functions.behave('odoo-crm-sync', echo)
  expect(await run(CRM)).toMatch(/^failed: .*HTTP 500/)

  const release = await occupy(project)
  await shorten(project, CRM, 0.2, 0.3)
  expect(await run(CRM)).toMatch(/^failed: .*not sent within 0.3 s, request withdrawn\n/)
  expect(await queued()).toEqual([])

  const waiting = run(CHATTER)
  await expect.poll(queued).toHaveLength(1)
  const role = `onlooker_of_${project.database}`
  await project.admin.query(
    `create role ${role} login password 'postgres'; alter role ${role} set log_min_duration_statement = -1`
  )
  const url = new URL(project.url)
  url.username = role
  url.password = 'postgres'
  const onlooker = await connect(url.href)
  const shown = ['net._http_response', 'net.http_request_queue']
  expect(await Promise.all([leaks([key]), search(onlooker, [key])])).toEqual([[[...shown, VAULT]], [shown]])
  await onlooker.end()
  await project.admin.query(`drop role ${role}`)

  release()
  expect(await waiting).toBe('succeeded: DO')
  expect(await queued()).toEqual([])
})

describe('a planted key is found', () => {
  const plants: [string, RegExp, (key: string) => unknown][] = [
    [
      "a job's command",
      /^cron\.job$/,
      (key) => project.rows(`select cron.schedule('planted', '0 0 1 1 *', $1)`, [key])
    ],
    [
      "a function's body",
      /^pg_proc$/,
      (key) => project.rows(`create function planted() returns text language sql as $$ select '${key}' $$`)
    ],
    [
      'the run history',
      /^cron\.job_run_details$/,
      (key) => project.rows('insert into cron.job_run_details (runid, return_message) values (-1, $1)', [key])
    ],
    [
      "the server's files",
      /^(base|pg_wal)\//,
      (key) => project.rows(`select vault.create_secret($1, 'planted')`, [key])
    ],
    [
      'the server log',
      /^server\.log$/,
      (key) => project.admin.query(`do $plant$ begin raise log '%', '${key}'; end $plant$`)
    ],
    ['a temporary file', /^planted$/, (key) => fs.writeFileSync(path.join(temp, 'planted'), key)],
    [
      'a command line',
      /^command line of \w+$/,
      (key) => spawn(process.execPath, ['-e', 'setTimeout(() => {}, 2000)', key])
    ]
  ]
  const keys = plants.map(() => secretKey())
  const searched = ([, place]: (typeof plants)[number]) =>
    project.data !== undefined || !(place.test('base/1/2') || (place.test('server.log') && project.log() === undefined))
  let found: string[][]
  beforeAll(async () => {
    for (const [at, [, , plant]] of plants.entries()) await plant(keys[at] ?? '')
    found = await leaks(keys)
    await project.rows(`select cron.unschedule('planted'); drop function planted;
      delete from cron.job_run_details where runid = -1; delete from vault.secrets where name = 'planted'`)
  })
  test.each(plants.map(([name, place], at) => [name, place, at] as const))('in %s', (_name, place, at) => {
    const plant = plants[at]
    if (plant && searched(plant)) expect(found[at]).toContainEqual(expect.stringMatching(place))
  })
})
