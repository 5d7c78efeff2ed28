/** The migration of the history: what becomes of the text that old runs have kept. Each test has a fresh database. */

import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { fieldsOf, historyMigration } from './lib/template.ts'
import { legacyKey, secretKey } from './stack/keys.ts'
import { ROOT, supabase } from './stack/stack.ts'
import {
  CHATTER,
  CRM,
  HISTORY_MIGRATION,
  MIGRATION,
  migrateIn,
  type TestProject,
  testProject
} from './stack/testing.ts'

interface Run {
  jobid: string
  runid: string
  command: string
  return_message: string | null
}

let project: TestProject
/** The ids of the two jobs, and one that no job has any more. */
let crm: string
let chatter: string
const GONE = '99'

beforeEach(async () => {
  project = await testProject('fresh')
  await migrateIn(project.db, MIGRATION)
  const jobs = await project.rows('select jobid, jobname from cron.job')
  const id = (name: string) => jobs.find(({ jobname }) => jobname === name)?.jobid ?? ''
  crm = id(CRM)
  chatter = id(CHATTER)
})
afterEach(() => project.stop())

const redact = () => migrateIn(project.db, HISTORY_MIGRATION)
const history = () => project.rows<Run>('select * from cron.job_run_details order by runid')
/** The same with the place of each row on disk and the transaction that wrote it: both change where a row is updated. */
const rowsOnDisk = () => project.rows('select ctid, xmin, * from cron.job_run_details order by runid')

const KEY = 'Opaque.token+/=0123456789'
const REMOVED = /^-- supabase-cron-vault removed the text of this command of odoo-crm-sync on \d{4}-\d\d-\d\d$/

/** The command as production had it: one function called with a literal key. */
const literal = (name = 'odoo-crm-sync', key = KEY) => `select net.http_post(
  url := 'https://abcdefghijklmnopqrst.supabase.co/functions/v1/${name}',
  headers := jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ${key}'),
  body := '{"mode": "incremental"}'::jsonb)`

/** Records a run of a job, by default one of CRM that succeeded; resolves to its runid. */
async function record(
  command: string,
  run: { jobid?: string; username?: string; status?: string; message?: string | null } = {}
): Promise<string> {
  const { jobid = crm, username = 'postgres', status = 'succeeded', message = '1 row' } = run
  const [recorded] = await project.rows<Run>(
    `insert into cron.job_run_details (runid, jobid, job_pid, database, username, command, status, return_message, start_time, end_time)
     values ((select coalesce(max(runid), 0) + 1 from cron.job_run_details), $1, 7, 'postgres', $2, $3, $4, $5,
       now() - interval '1 day', now() - interval '23 hours')
     returning runid`,
    [jobid, username, command, status, message]
  )
  return recorded?.runid ?? ''
}

test('a run loses the whole text of its command, however the key was written', async () => {
  const url = 'https://abcdefghijklmnopqrst.supabase.co/functions/v1/odoo-crm-sync'
  const post = (headers: string) => `select net.http_post(url := '${url}', headers := ${headers}, body := '{}')`
  const ways: [string, string][] = [
    ['jsonb_build_object', post(`jsonb_build_object('Authorization', 'Bearer ${KEY}')`)],
    ['JSON', post(`'{"Authorization": "Bearer ${KEY}"}'`)],
    ['JSON in lower case', post(`'{"authorization": "bearer ${KEY}"}'::jsonb`)],
    ['JSON with an escaped space', post(`'{"Authorization": "Bearer\\u0020${KEY}"}'`)],
    ['format()', post(`format('{"Authorization": "Bearer %1$s", "apikey": "%1$s"}', '${KEY}')::jsonb`)],
    ['|| three times', post(`jsonb_build_object('Authorization', 'Bearer' || ' ' || '${KEY}')`)],
    ['concat()', post(`jsonb_build_object('Authorization', concat('Bearer ', '${KEY}'))`)],
    ['concat_ws()', post(`jsonb_build_object('Authorization', concat_ws(' ', 'Bearer', '${KEY}'))`)],
    ['dollar quotes joined', post(`jsonb_build_object('Authorization', $$Bearer $$ || $$${KEY}$$)`)],
    ['dollar quotes around JSON', post(`$h$\{"Authorization": "Bearer ${KEY}"}$h$`)],
    ['E escapes', post(`E'{\\"AUTHORIZATION\\": \\"BEARER\\x20${KEY}\\"}'`)],
    ['apikey alone', post(`'{"apikey": "${KEY}"}'`)],
    ['a header of its own', post(`'{"x-cron-secret": "${KEY}"}'`)],
    ['Basic', post(`'{"Authorization": "Basic ${KEY}"}'`)],
    [
      'a CTE',
      `with k as (select '${KEY}' as key)\nselect net.http_post('${url}', '{"apikey": "' || key || '"}') from k`
    ],
    ['a function of its own', `select public.sync('${KEY}')`],
    ['the key alone', KEY],
    ['nothing', '']
  ]
  for (const [, command] of ways) await record(command)
  await redact()
  const left = (await history()).flatMap(({ command }, at) => (REMOVED.test(command) ? [] : [ways[at]?.[0]]))
  expect(left).toEqual([])
  expect((await history()).map((run) => run.return_message)).toEqual(ways.map(() => '1 row'))
})

test('a run loses its text where that only begins like a comment or a command of this project', async () => {
  const [job] = await project.rows<Run>('select command from cron.job where jobid = $1', [crm])
  const [first] = job?.command.split('\n') ?? []
  const commands = [
    `-- odoo-crm-sync\n${literal()}`,
    `-- supabase-cron-vault\n${literal()}`,
    `-- supabase-cron-vault removed the text\n${literal()}`,
    `${first}\n${literal()}`,
    `${first}\ndo $job$\ndeclare\n  key text := '${KEY}';\nbegin end $job$`,
    `select '${KEY}';\n${job?.command}`
  ]
  for (const command of commands) await record(command)
  await redact()
  expect((await history()).map(({ command }) => command)).toEqual(commands.map(() => expect.stringMatching(REMOVED)))
})

test('the comment names the function that the job calls, and the day of the removal', async () => {
  await record(literal())
  await record(literal('odoo-chatter-sync'), { jobid: chatter })
  await redact()
  const [today] = await project.rows(`select to_char(now(), 'YYYY-MM-DD') as day`)
  expect((await history()).map(({ command }) => command)).toEqual(
    ['odoo-crm-sync', 'odoo-chatter-sync'].map(
      (name) => `-- supabase-cron-vault removed the text of this command of ${name} on ${today?.day}`
    )
  )
})

describe('the message of a run whose command is removed', () => {
  const ended = 'server closed the connection unexpectedly\n\t'
  const closed = `${ended}This probably means the server terminated abnormally\n\tbefore or while processing the request.\n`
  /** Records a failed run with each message; resolves to what is left of them. */
  async function left(messages: (string | null)[]) {
    for (const message of messages) await record(literal(), { status: 'failed', message })
    await redact()
    const runs = await history()
    expect(runs.every(({ command }) => REMOVED.test(command))).toBe(true)
    return runs.map((run) => run.return_message)
  }

  test("stays where it is one of pg_cron's own", async () => {
    const own = [
      ...['1 row', '0 rows', '2 rows', 'DO', 'SELECT 1', 'INSERT 0 1', 'CREATE TABLE AS', 'server restarted'],
      ...['connection failed', 'job startup timeout', 'job canceled', closed]
    ]
    expect(await left(own)).toEqual(own)
  })

  test('stays null where it is null', async () => {
    expect(await left([null])).toEqual([null])
  })

  test('otherwise keeps at most the word before its first colon', async () => {
    const messages: [string, string][] = [
      [`ERROR:  odd ${KEY}\nDETAIL:  ${KEY}\nHINT:  ${KEY}\nCONTEXT:  ${KEY}\n`, 'ERROR: [removed]'],
      [`ERROR: odd ${KEY}\nDETAIL: as background workers write it`, 'ERROR: [removed]'],
      [`ERROR:  syntax error\nLINE 1: …${KEY.slice(-9)}"}'::jsonb)\n             ^\n`, 'ERROR: [removed]'],
      [`FATAL:  ${KEY}`, 'FATAL: [removed]'],
      [`seen ${KEY}`, '[removed]'],
      [`Bearer: ${KEY}`, '[removed]'],
      [`${KEY}: ERROR: x`, '[removed]'],
      ['', '[removed]']
    ]
    expect(await left(messages.map(([message]) => message))).toEqual(messages.map(([, kept]) => kept))
  })

  test("loses a key that stands before or after a text of pg_cron's own", async () => {
    const messages = [
      ...[`1 row ${KEY}`, `${KEY}\n1 row`, `DO\n${KEY}`, `SELECT 1 ${KEY}`, `x${KEY} rows`, `server restarted\n${KEY}`],
      ...[`${ended}${KEY}`, `${closed}${KEY}`, `${KEY} ${closed}`]
    ]
    expect(await left(messages)).toEqual(messages.map(() => '[removed]'))
  })
})

describe('a run of a job that does not exist any more', () => {
  test('loses its text where its command names a function of the jobs', async () => {
    await record(literal(), { jobid: GONE, status: 'failed', message: `ERROR:  ${KEY}` })
    await record(`select net.http_post('https://x.functions.supabase.co/odoo-crm-sync?a', '${KEY}')`, { jobid: '98' })
    await record(`select net.http_post(url || 'odoo-crm-sync', '${KEY}')`, { jobid: '97' })
    await record(literal('odoo-chatter-sync'), { jobid: GONE })
    await redact()
    expect((await history()).map(({ command }) => /of this command of (\S+) on/.exec(command)?.[1])).toEqual([
      ...['odoo-crm-sync', 'odoo-crm-sync', 'odoo-crm-sync', 'odoo-chatter-sync']
    ])
    expect((await history())[0]?.return_message).toBe('ERROR: [removed]')
  })

  test('loses its text where only its message names a function of the jobs', async () => {
    await record(`select public.sync('${KEY}')`, {
      jobid: GONE,
      status: 'failed',
      message: 'ERROR:  odoo-crm-sync: no\n'
    })
    await redact()
    expect(await history()).toMatchObject([
      { command: expect.stringMatching(REMOVED), return_message: 'ERROR: [removed]' }
    ])
  })

  test('keeps its text where that names another function', async () => {
    const others = ['another', 'odoo-crm-sync-2', 'my_odoo-crm-sync', 'my-odoo-crm-sync', 'odoo-crm-sync_2']
    for (const name of [...others, 'odoo-crm-syncs', '2odoo-crm-sync', 'odoo-crm', 'odoo-crm-Sync'])
      await record(literal(name), { jobid: GONE })
    const before = await rowsOnDisk()
    await redact()
    expect(await rowsOnDisk()).toEqual(before)
  })

  test('loses its text whoever ran it', async () => {
    await record(literal(), { jobid: GONE, username: 'somebody' })
    await redact()
    expect(await history()).toMatchObject([{ username: 'somebody', command: expect.stringMatching(REMOVED) }])
  })
})

test('the runs of other jobs that exist keep their text, although it names a function of these jobs', async () => {
  const [other] = await project.rows(`select cron.schedule('other', '* * * * *', $1) as id`, [literal()])
  await project.admin.query(`select cron.schedule('of supabase_admin', '* * * * *', 'select 1')`)
  const [admins] = await project.rows(`select jobid from cron.job where jobname = 'of supabase_admin'`)
  await record(literal(), { jobid: other?.id ?? '' })
  await record(literal(), { jobid: admins?.jobid ?? '', username: 'supabase_admin' })
  const before = await rowsOnDisk()
  expect(before).toHaveLength(2)
  await redact()
  expect(await rowsOnDisk()).toEqual(before)
})

test('the runs of these jobs lose their text whoever ran them', async () => {
  await record(literal(), { username: 'somebody' })
  await redact()
  expect(await history()).toMatchObject([{ username: 'somebody', command: expect.stringMatching(REMOVED) }])
})

test("the runs of the template's own commands stay as they are, of jobs that exist and of one that does not", async () => {
  await project.fill()
  await project.run(CRM)
  const jobs = await project.rows('select command, jobid from cron.job')
  for (const { command = '', jobid = '' } of jobs) {
    await record(command, { jobid, status: 'failed', message: 'ERROR:  odoo-crm-sync: HTTP 401\nDETAIL:  no\n' })
    await record(command, { jobid: GONE })
    await record(command.replace('template 1:', 'template 22:'), { jobid })
  }
  const before = await rowsOnDisk()
  expect(before).toHaveLength(7)
  await redact()
  expect(await rowsOnDisk()).toEqual(before)
})

test('rows, ids, times and statuses stay', async () => {
  await record(literal(), { status: 'failed', message: 'ERROR:  x\n' })
  await record(literal('odoo-chatter-sync'), { jobid: chatter })
  await record(literal(), { jobid: GONE, username: 'somebody' })
  const kept = async () => (await history()).map(({ command: _, return_message: __, ...run }) => run)
  const before = await kept()
  await redact()
  expect(await kept()).toEqual(before)
  for (const { command } of await history()) expect(command).toMatch(/^-- supabase-cron-vault removed/)
})

test('a run in progress is neither changed nor locked, and loses its text the next time', async () => {
  const running = ['starting', 'connecting', 'sending', 'running']
  await project.scheduler.stop() // a launcher that starts takes such rows for lost runs
  for (const status of running)
    for (const jobid of [crm, GONE]) await record(literal(), { jobid, status, message: null })
  await record(literal())
  await project.rows('begin')
  await redact()
  await project.admin.query(`set lock_timeout = '500ms'`)
  await project.admin.query(`update cron.job_run_details set status = 'succeeded' where status = any ($1)`, [running])
  await project.rows('commit')
  const commands = async () => (await history()).map(({ command }) => command)
  expect(await commands()).toEqual([...Array(8).fill(literal()), expect.stringMatching(REMOVED)])
  await redact()
  expect(await commands()).toEqual(Array(9).fill(expect.stringMatching(REMOVED)))
})

test('a second run changes nothing', async () => {
  await record(literal())
  await record(literal(), { status: 'failed', message: `ERROR:  ${KEY}` })
  await record(literal(), { jobid: GONE, status: 'failed', message: null })
  await record(literal('another'), { jobid: GONE })
  await redact()
  const before = await rowsOnDisk()
  await redact()
  expect(await rowsOnDisk()).toEqual(before)
})

test('where no job comes from the template, nothing is changed', async () => {
  await record(literal())
  await record(literal(), { jobid: GONE })
  await project.rows('select cron.alter_job($1, command := $2)', [crm, literal()])
  await project.rows('select cron.unschedule($1::bigint)', [chatter])
  const before = await rowsOnDisk()
  await redact()
  expect(await rowsOnDisk()).toEqual(before)
})

test('neither the key nor a hash of it, or of the text, is left in a job or a run', async () => {
  const keys = [legacyKey(), secretKey(), 'short']
  const texts = keys.map((key) => literal('odoo-crm-sync', key))
  const messages = keys.map((key) => `ERROR:  ${key}\n`)
  for (const [at, text] of texts.entries()) await record(text, { status: 'failed', message: messages[at] ?? '' })
  await redact()
  const [all] = await project.rows(
    'select (select json_agg(job)::text from cron.job) || (select json_agg(run)::text from cron.job_run_details as run) as text'
  )
  expect(all?.text).toContain('supabase-cron-vault removed')
  const hashes = [...keys, ...texts, ...messages].flatMap((text) =>
    ['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512'].flatMap((name) =>
      (['hex', 'base64', 'base64url'] as const).map((encoding) => createHash(name).update(text).digest(encoding))
    )
  )
  // Eight characters of a hash are enough to try guesses.
  const found = [...keys, ...hashes.map((hash) => hash.slice(0, 8))].filter((text) => all?.text?.includes(text))
  expect(found).toEqual([])
})

test('the jobs and functions of another list are found by their commands', async () => {
  const list = `[
    {"name": "night", "schedule": "0 3 * * *", "function": "Night_report-2", "body": {"function": "no", "x": "$line$"}, "answer_within": 20, "secret": "s", "header": "x-s"}
  ]`
  const other = MIGRATION.replace(/\$jobs\$\[[\s\S]*?\]\$jobs\$/, () => `$jobs$${list}$jobs$`)
  await migrateIn(project.db, other)
  const [job] = await project.rows(`select jobid, command from cron.job where jobname = 'night'`)
  expect(fieldsOf(job?.command ?? '')?.function).toBe('Night_report-2')
  await record(`select public.sync('${KEY}')`, { jobid: job?.jobid ?? '' })
  await record(literal('Night_report-2'), { jobid: GONE })
  await record(literal('night_report-2'), { jobid: GONE })
  await redact()
  expect((await history()).map(({ command }) => /of this command of (\S+) on/.exec(command)?.[1])).toEqual([
    ...['Night_report-2', 'Night_report-2', undefined]
  ])
})

test('5,000 runs lose their text', async () => {
  await project.rows(
    `insert into cron.job_run_details (runid, jobid, command, status, return_message)
     select n, case when n % 2 = 0 then $1::bigint else n + 1000 end, $2, 'succeeded', n || ' rows'
     from generate_series(1, 5000) as n`,
    [crm, literal()]
  )
  await redact()
  expect((await history()).filter(({ command }) => REMOVED.test(command))).toHaveLength(5000)
})

test('statement_timeout does not end it, and the session keeps its own', async () => {
  const runid = await record(literal())
  await project.admin.query('begin')
  await project.admin.query('select from cron.job_run_details where runid = $1 for update', [runid])
  await project.rows(`set statement_timeout = '300ms'`)
  const redacted = redact()
  await sleep(700)
  await project.admin.query('commit')
  await redacted
  expect(await history()).toMatchObject([{ command: expect.stringMatching(REMOVED) }])
  expect(await project.rows('show statement_timeout')).toEqual([{ statement_timeout: '300ms' }])
})

test('where it fails, the jobs keep what the first migration has done, and the Supabase CLI applies it later', async () => {
  const empty = await testProject('fresh')
  try {
    await empty.rows('create extension pg_cron')
    await empty.rows('select cron.schedule($1, $2, $3)', [CRM, '*/15 * * * *', literal()])
    await empty.rows(
      `insert into cron.job_run_details (runid, jobid, command, status, return_message) values (1, 1, $1, 'succeeded', '1 row')`,
      [literal()]
    )
    const folder = fs.mkdtempSync(path.join(empty.dir, 'broken-'))
    fs.cpSync(path.join(ROOT, 'supabase'), path.join(folder, 'supabase'), { recursive: true })
    const broken = HISTORY_MIGRATION.replace('end\n$history$', `raise 'broken';\nend\n$history$`)
    fs.writeFileSync(path.join(folder, historyMigration()), broken)
    const up = (...more: string[]) => supabase(empty.dir, 'migration', 'up', `--remote=${empty.url}`, ...more)
    const state = async () => ({
      functions: (await empty.rows('select command from cron.job order by jobid')).map(
        ({ command }) => fieldsOf(command ?? '')?.function
      ),
      runs: (await empty.rows('select command from cron.job_run_details')).map(({ command }) => command),
      applied: (await empty.rows('select version from supabase_migrations.schema_migrations')).length
    })

    await expect(up('--workdir', folder)).rejects.toThrow('broken')
    expect(await state()).toEqual({ functions: ['odoo-crm-sync', 'odoo-chatter-sync'], runs: [literal()], applied: 1 })
    await up()
    expect(await state()).toMatchObject({ runs: [expect.stringMatching(REMOVED)], applied: 2 })
  } finally {
    await empty.stop()
  }
})
