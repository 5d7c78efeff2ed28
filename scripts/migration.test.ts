/** The migration of the jobs, on every database that it may meet. Each test has a fresh database. */

import fs from 'node:fs'
import path from 'node:path'
import type pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connect } from './lib/database.ts'
import { files, runPgtap } from './lib/pgtap.ts'
import { fieldsOf, historyMigration, jobsMigration } from './lib/template.ts'
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

let project: TestProject
beforeEach(async () => {
  project = await testProject('fresh')
})
afterEach(() => project.stop())

const migrate = () => migrateIn(project.db)
const extensions = () => project.rows('create extension pg_cron; create extension pg_net with schema extensions')
const schedule = (name: string, when: string, command: string) =>
  project.rows('select cron.schedule($1, $2, $3)', [name, when, command])
const jobs = () => project.rows('select * from cron.job order by jobid')
const secrets = () => project.rows('select * from vault.decrypted_secrets order by name')
/** Vault rows as they are stored, with the transaction that wrote them: this works for broken ones, too. */
const stored = () => project.rows('select xmin, * from vault.secrets order by name')

/** A line of the list: this job with other fields. A field that is undefined is left out. */
const line = (fields: Record<string, unknown> = {}) =>
  JSON.stringify({
    name: 'report',
    schedule: '0 3 * * *',
    function: 'report',
    body: {},
    answer_within: 50,
    ...fields
  })
/** The migration with this text between the brackets of its list. */
const withText = (text: string) => MIGRATION.replace(/\$jobs\$\[[\s\S]*?\]\$jobs\$/, () => `$jobs$[\n${text}\n]$jobs$`)
/** The migration with these lines as its list. */
const withList = (...lines: string[]) => withText(lines.join(',\n'))

/** The command as production has it: one function called with a literal key. */
const literal = (key: string, name = 'odoo-crm-sync') => `select net.http_post(
  url := 'https://abcdefghijklmnopqrst.supabase.co/functions/v1/${name}',
  headers := jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ${key}'),
  body := '{"mode": "incremental"}'::jsonb)`

/** What the migration raises, as pg gives it. Fails where the migration runs. */
async function refusal(migration: string, db = project.db): Promise<pg.DatabaseError> {
  const error = await migrateIn(db, migration).catch((thrown) => thrown)
  if (!(error instanceof Error)) throw new Error('the migration ran')
  return error as pg.DatabaseError
}

/** A copy of supabase/ in a folder of its own, for the Supabase CLI, with one migration changed. */
function copied(migration: string, change: (text: string) => string) {
  const folder = fs.mkdtempSync(path.join(project.dir, 'copied-'))
  fs.cpSync(path.join(ROOT, 'supabase'), path.join(folder, 'supabase'), { recursive: true })
  const file = path.join(folder, migration)
  fs.writeFileSync(file, change(fs.readFileSync(path.join(ROOT, migration), 'utf8')))
  return folder
}
const migrationUp = (folder: string) =>
  supabase(project.dir, 'migration', 'up', `--remote=${project.url}`, '--workdir', folder)

describe('an empty database', () => {
  test('gets the two jobs with their schedules, active', async () => {
    await migrate()
    expect(await jobs()).toMatchObject([
      { jobname: CRM, schedule: '*/15 * * * *', active: true },
      { jobname: CHATTER, schedule: '0 * * * *', active: true }
    ])
  })

  test('gets two empty Vault rows, whose description says who reads them and how to rotate', async () => {
    await migrate()
    const description = expect.stringMatching(/Cron jobs read this row.*To rotate a key, update it/)
    expect(await secrets()).toMatchObject([
      { name: 'project_url', decrypted_secret: '', description },
      { name: 'service_role_key', decrypted_secret: '', description }
    ])
  })

  test('gets commands that differ in one line', async () => {
    await migrate()
    const [crm = [], chatter = []] = (await jobs()).map(({ command }) => command?.split('\n'))
    expect(crm.length).toBe(chatter.length)
    expect(crm.filter((text, at) => text !== chatter[at])).toEqual([
      expect.stringMatching(/^ {2}job constant jsonb := \$line\$\{.*\}\$line\$;$/)
    ])
  })

  test.each([undefined, 'x-cron-secret'])(
    'gets short commands, since every run stores one (header: %s)',
    async (header) => {
      await migrateIn(project.db, withList(line({ header })))
      const [job] = await jobs()
      const body = JSON.stringify(fieldsOf(job?.command ?? '')?.body)
      expect(fieldsOf(job?.command ?? '')?.header).toBe(header)
      expect((job?.command?.length ?? 0) - body.length).toBeLessThan(3800)
    }
  )
})

test.each([
  [jobsMigration(), 140],
  [historyMigration(), 45]
])('%s has at most %i lines, so that it can be read before it is run', (file, most) => {
  const text = fs.readFileSync(path.join(ROOT, file), 'utf8')
  expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(most)
})

test('the Supabase CLI pushes it, and a reset applies it again and keeps the Vault rows', async () => {
  await supabase(project.dir, 'db', 'push', `--remote=${project.url}`)
  await project.fill()
  const before = await stored()
  expect(await jobs()).toMatchObject([{ jobname: CRM }, { jobname: CHATTER }])
  await supabase(project.dir, 'db', 'reset', `--remote=${project.url}`)
  expect(await jobs()).toMatchObject([{ jobname: CRM }, { jobname: CHATTER }])
  expect(await stored()).toEqual(before)
  expect(await project.run(CRM)).toMatchObject({ status: 'succeeded' })
})

test('a second and a third run change nothing', async () => {
  await migrate()
  const before = [await jobs(), await stored()]
  await migrate()
  await migrate()
  expect([await jobs(), await stored()]).toEqual(before)
})

describe('the session that runs it', () => {
  /** The statements of a file, one by one, as psql sends them. */
  const statements = (text: string) =>
    text.match(/(?:--[^\n]*|\$(\w+)\$[\s\S]*?\$\1\$|'(?:[^']|'')*'|[^;])+;/g)?.map((statement) => statement.trim()) ??
    []
  const inOneTransaction = (text: string) => ['begin', ...statements(text), 'commit']
  const ways: [string, (text: string) => string[]][] = [
    ['as one query', (text) => [text]],
    ['statement by statement', statements],
    ['statement by statement in one transaction', inOneTransaction]
  ]

  test.each(ways)('may send it %s', async (_way, split) => {
    await extensions()
    await schedule(CRM, '7 * * * *', literal(secretKey()))
    for (const query of [MIGRATION, HISTORY_MIGRATION].flatMap(split)) await project.db.query(query)
    expect(await jobs()).toMatchObject([{ jobname: CRM, schedule: '7 * * * *' }, { jobname: CHATTER }])
    expect((await jobs()).map(({ command }) => fieldsOf(command ?? '')?.function)).toEqual([
      'odoo-crm-sync',
      'odoo-chatter-sync'
    ])
    expect(await secrets()).toHaveLength(2)
  })

  test.each(ways)(
    'keeps its search_path and statement_timeout, and keeps no setting of the migration: %s',
    async (_way, split) => {
      const settings = () =>
        project.rows(
          `select current_setting('search_path') as path, current_setting('statement_timeout') as timeout,
           coalesce(current_setting('cron_vault.list', true), '') as list,
           coalesce(current_setting('cron_vault.template', true), '') as template`
        )
      await project.rows(`set search_path = extensions, public; set statement_timeout = '77s'`)
      for (const query of [MIGRATION, HISTORY_MIGRATION].flatMap(split)) await project.db.query(query)
      expect(await settings()).toEqual([{ path: 'extensions, public', timeout: '77s', list: '', template: '' }])
    }
  )

  test('may have files with Windows line ends: the commands are the same, and the history loses its keys', async () => {
    await migrate()
    const before = await jobs()
    await project.rows(
      `insert into cron.job_run_details (runid, jobid, command, status) select 1, min(jobid), $1, 'failed' from cron.job`,
      [literal(secretKey())]
    )
    await migrateIn(project.db, ...[MIGRATION, HISTORY_MIGRATION].map((text) => text.replaceAll('\n', '\r\n')))
    expect(await jobs()).toEqual(before)
    expect(await project.rows('select command from cron.job_run_details')).toEqual([
      { command: expect.stringMatching(/^-- supabase-cron-vault removed/) }
    ])
  })

  test('the statements of the file are the ones that psql would send', () => {
    expect(statements(MIGRATION).map((text) => /^(--.*\s+)*(\w+ [\w$.]+)/.exec(text)?.[2])).toEqual([
      ...['set cron_vault.list', 'set cron_vault.template', 'do $migration$'],
      ...['reset cron_vault.list', 'reset cron_vault.template']
    ])
  })
})

describe('a Vault row that exists is left alone', () => {
  beforeEach(() =>
    project.rows(`set app.settings.service_role_key = 'another'; set app.settings.project_url = 'http://b'`)
  )
  const only = async () => (await stored()).filter(({ name }) => name === 'service_role_key')

  test.each([
    ['with a value and a description', secretKey(), 'by hand'],
    ['with a value and no description', secretKey(), ''],
    ['with an empty value', '', 'by hand'],
    ['with a malformed value', 'two\nlines', '']
  ])('%s', async (_what, value, description) => {
    await project.rows('select vault.create_secret($1, $2, $3)', [value, 'service_role_key', description])
    const before = await only()
    await migrate()
    await migrate()
    expect(await only()).toEqual(before)
    expect((await secrets())[1]).toMatchObject({ decrypted_secret: value, description })
  })

  test.each(['not base64!', 'bm90IGVuY3J5cHRlZA=='])('with a text that cannot be decrypted: %s', async (broken) => {
    await project.rows(`select vault.create_secret('', 'service_role_key')`)
    await project.admin.query('update vault.secrets set secret = $1', [broken])
    const before = await only()
    await migrate()
    expect(await only()).toEqual(before)
    expect(before).toMatchObject([{ secret: broken }])
  })
})

describe('a Vault row that is missing', () => {
  test('is created with the value of the session setting', async () => {
    const key = secretKey()
    await project.rows(
      `set app.settings.service_role_key = '${key}'; set app.settings.project_url = 'https://x.supabase.co'`
    )
    await migrate()
    expect(await secrets()).toMatchObject([
      { name: 'project_url', decrypted_secret: 'https://x.supabase.co', description: expect.stringMatching(/rotate/) },
      { name: 'service_role_key', decrypted_secret: key, description: expect.stringMatching(/rotate/) }
    ])
  })

  test('is created beside one that exists', async () => {
    await project.rows(`select vault.create_secret('https://x.supabase.co', 'project_url')`)
    await migrate()
    expect(await secrets()).toMatchObject([
      { name: 'project_url', decrypted_secret: 'https://x.supabase.co' },
      { name: 'service_role_key', decrypted_secret: '' }
    ])
  })

  test('is created for every secret that the list names, once, and for no other', async () => {
    await project.rows(`set app.settings.cron_secret = 'of cron'`)
    await migrateIn(
      project.db,
      withList(
        line({ name: 'a', secret: 'cron_secret' }),
        line({ name: 'b', secret: 'cron_secret' }),
        line({ name: 'c', secret: `an "odd" one's name; %s` })
      )
    )
    expect(await secrets()).toMatchObject([
      { name: `an "odd" one's name; %s`, decrypted_secret: '' },
      { name: 'cron_secret', decrypted_secret: 'of cron' },
      { name: 'project_url', decrypted_secret: '' }
    ])
  })

  test('is never filled from an old command', async () => {
    await extensions()
    await schedule(CRM, '* * * * *', literal(secretKey()))
    await migrate()
    expect(await secrets()).toMatchObject([{ decrypted_secret: '' }, { decrypted_secret: '' }])
  })

  test('is written so that the clear text is in no file of the server', async () => {
    const found = async (text: string) => {
      await project.admin.query('checkpoint')
      const [own] = await project.rows(
        `select 'base/' || oid as folder from pg_database where datname = current_database()`
      )
      return ['pg_wal', own?.folder ?? ''].some((folder) =>
        fs
          .readdirSync(path.join(project.data ?? '', folder), { withFileTypes: true })
          .some((file) => file.isFile() && fs.readFileSync(path.join(file.parentPath, file.name)).includes(text))
      )
    }
    const careful = secretKey()
    await project.rows(`select set_config('app.settings.service_role_key', $1, false)`, [careful])
    await migrate()
    expect((await secrets())[1]?.decrypted_secret).toBe(careful)
    expect(await found(careful)).toBe(false)
    const careless = secretKey()
    await project.rows('select vault.create_secret($1)', [careless])
    expect(await found(careless)).toBe(true)
  })
})

describe('a job that exists', () => {
  const rest = async () => (await jobs()).map(({ command: _, ...job }) => job)

  test('keeps id, schedule, database and active flag; only its command is new', async () => {
    await extensions()
    for (const name of ['a', 'b', 'c']) await schedule(name, '* * * * *', 'select 1')
    await schedule(CRM, '*/20 * * * *', literal(legacyKey()))
    await schedule(CHATTER, '30 seconds', literal(legacyKey(), 'odoo-chatter-sync'))
    await project.rows(`select cron.alter_job(5, active := false, database := 'another')`)
    const before = await rest()
    await migrate()
    expect(await rest()).toEqual(before)
    expect(before[4]).toMatchObject({ jobname: CHATTER, schedule: '30 seconds', database: 'another', active: false })
    const commands = (await jobs()).map(({ command }) => command ?? '')
    expect(commands.slice(0, 3)).toEqual(['select 1', 'select 1', 'select 1'])
    expect(commands.slice(3).map((command) => fieldsOf(command)?.function)).toEqual([
      'odoo-crm-sync',
      'odoo-chatter-sync'
    ])
    expect(commands.join()).not.toContain('eyJ')
  })

  test('keeps everything where the other job is missing, which is created', async () => {
    await extensions()
    await schedule(CHATTER, '5 * * * *', 'select 1')
    await migrate()
    expect(await jobs()).toMatchObject([{ jobname: CHATTER, schedule: '5 * * * *' }, { jobname: CRM }])
  })

  test('stops the migration where pg_cron refuses the schedule in the list, although the job has its own', async () => {
    await migrate()
    const before = [await jobs(), await stored()]
    const [crm, chatter] = [line({ name: CRM, secret: 'new_row' }), line({ name: CHATTER, schedule: '61 * * * *' })]
    expect((await refusal(withList(crm, chatter))).message).toContain('61 * * * *')
    expect([await jobs(), await stored()]).toEqual(before)
  })
})

test('a new job with a schedule that pg_cron refuses stops the migration, and nothing is changed', async () => {
  await migrate()
  const before = [await jobs(), await stored()]
  const lines = [line({ name: CRM, secret: 'new_row' }), line({ name: 'new', schedule: '61 * * * *' })]
  expect((await refusal(withList(...lines))).message).toContain('61 * * * *')
  expect([await jobs(), await stored()]).toEqual(before)
})

test('runs where somebody was granted cron.job, and "create extension if not exists" fails there', async () => {
  await extensions()
  const role = `reader_of_${project.database}`
  await project.rows(`create role ${role}; grant select on cron.job to ${role}`)
  await expect(project.rows('create extension if not exists pg_cron')).rejects.toMatchObject({ code: '2BP01' })
  await migrate()
  await migrate()
  expect(await jobs()).toMatchObject([{ jobname: CRM }, { jobname: CHATTER }])
  expect(await project.rows(`select has_table_privilege('${role}', 'cron.job', 'select') as reads`)).toEqual([
    { reads: true }
  ])
})

describe('a job of the same name that another role owns', () => {
  async function owned(role: string) {
    await extensions()
    await project.rows(`create role "${role}" login`)
    await project.admin.query(`grant usage on schema cron to "${role}"; set role "${role}"`)
    await project.admin.query('select cron.schedule($1, $2, $3)', [CHATTER, '0 * * * *', literal(legacyKey())])
    await project.admin.query('reset role')
  }

  test.each([false, true])(
    'stops the migration, which names job, owner and the way out, and changes nothing (one of ours beside it: %s)',
    async (beside) => {
      const role = `Other ${project.database}`
      await owned(role)
      if (beside) await schedule(CHATTER, '0 * * * *', literal(legacyKey()))
      const before = [await jobs(), await stored()]
      const { message, detail = '' } = await refusal(MIGRATION)
      expect(message).toBe(`job "${CHATTER}" belongs to role "${role}": nothing was changed`)
      expect(detail).toBe(
        `Remove it, then run this migration again: grant "${role}" to postgres; set role "${role}"; select cron.unschedule('${CHATTER}'); reset role;`
      )
      expect([await jobs(), await stored()]).toEqual(before)

      await project.rows(/grant .*/.exec(detail)?.[0] ?? '')
      await migrate()
      expect((await jobs()).map((job) => job.jobname).sort()).toEqual([CHATTER, CRM])
      expect(await project.rows('select current_user as role')).toEqual([{ role: 'postgres' }])
    }
  )

  test("is Supabase support's to remove where supabase_admin owns it", async () => {
    await extensions()
    await project.admin.query('select cron.schedule($1, $2, $3)', [CRM, '0 * * * *', 'select 1'])
    expect(await refusal(MIGRATION)).toMatchObject({
      message: `job "${CRM}" belongs to role "supabase_admin": nothing was changed`,
      detail: 'Only Supabase support can remove it: ask them, then run this migration again.'
    })
  })
})

describe('statement_timeout', () => {
  /** Gives `postgres` a statement_timeout in this database: other tests share the role. */
  const limit = (timeout: string) =>
    project.admin.query(`alter role postgres in database ${project.database} set statement_timeout = ${timeout}`)
  const asking = (answer_within: number) => withList(line({ answer_within }))

  /** A session as a member of postgres: its role may have settings of its own that no other test sees. */
  async function member(timeout: string | undefined, options = '') {
    const role = `member_of_${project.database}`
    await project.admin.query(`create role ${role} login password 'postgres'; grant postgres to ${role}`)
    if (timeout) await project.admin.query(`alter role ${role} set statement_timeout = ${timeout}`)
    const url = new URL(project.url)
    url.username = role
    if (options) url.searchParams.set('options', options)
    return { role, db: await connect(url.href) }
  }

  test('of 60 s stops the migration with the statement that mends it in DETAIL, and changes nothing', async () => {
    await limit(`'60s'`)
    const { message, detail = '' } = await refusal(MIGRATION)
    expect(message).toBe(
      'line 1 of the list: a run needs up to 120 s, and statement_timeout ends those of role "postgres" after 00:01:00'
    )
    expect(detail).toBe(`alter role postgres in database ${project.database} set statement_timeout = '120s';`)
    expect(await secrets()).toEqual([])
    await project.rows(detail)
    await migrate()
    expect(await jobs()).toHaveLength(2)
  })

  test('stops the migration for the line that needs more than the lines above it', async () => {
    const { message } = await refusal(withList(line({ name: 'a' }), line({ answer_within: 51 })))
    expect(message).toBe(
      'line 2 of the list: a run needs up to 124 s, and statement_timeout ends those of role "postgres" after 00:02:00'
    )
  })

  test('lets a function have the seconds that a run with a tenth to spare has room for', async () => {
    const allowed: [number, string][] = [
      [50, `'2min'`],
      [50, '120000'],
      [51, `'124s'`],
      [150, `'341s'`],
      [150, `'0'`],
      [150, `'1h'`]
    ]
    for (const [seconds, timeout] of allowed) {
      await limit(timeout)
      await migrateIn(project.db, asking(seconds))
      const [job] = await jobs()
      expect(fieldsOf(job?.command ?? '')?.answer_within).toBe(seconds)
    }
  })

  test('does not let a function have more, and says how long a run needs', async () => {
    const refused: [number, string, string][] = [
      [1, `'119s'`, '120s'],
      [50, '119999', '120s'],
      [51, `'123s'`, '124s'],
      [150, `'340s'`, '341s'],
      [150, `'2min'`, '341s']
    ]
    for (const [seconds, timeout, needed] of refused) {
      await limit(timeout)
      expect((await refusal(asking(seconds))).detail).toContain(`set statement_timeout = '${needed}'`)
    }
    expect(await secrets()).toEqual([])
  })

  test.each([`'1s'`, '0'])('that the session has set itself does not matter: %s', async (own) => {
    await project.rows(`set statement_timeout = ${own}`)
    await migrateIn(project.db, MIGRATION)
    expect((await refusal(asking(51))).detail).toContain(`'124s'`)
  })

  test("of the role counts, and its setting in the database comes before the role's", async () => {
    const { role, db } = await member(`'60s'`)
    expect(await refusal(MIGRATION, db)).toMatchObject({
      detail: `alter role ${role} in database ${project.database} set statement_timeout = '120s';`
    })
    await db.query(`alter role ${role} in database ${project.database} set statement_timeout = '2min'`)
    await migrateIn(db, MIGRATION)
    await db.query(`alter role ${role} set statement_timeout = '5min'`)
    expect((await refusal(asking(100), db)).message).toContain('after 00:02:00')
    await db.end()
  })

  test('of the database counts where the role has none, and does not where it has one', async () => {
    await project.admin.query(`alter database ${project.database} set statement_timeout = '60s'`)
    await migrateIn(project.db, MIGRATION)
    const { db } = await member(undefined)
    expect((await refusal(MIGRATION, db)).message).toContain('after 00:01:00')
    await db.end()
  })

  test('that the server has given the session counts where neither role nor database has one', async () => {
    const { db } = await member(undefined, '-c statement_timeout=60s')
    await db.query('set statement_timeout = 0')
    expect((await refusal(MIGRATION, db)).message).toContain('after 00:01:00')
    await db.end()
  })

  test('of another role, or in another database, does not matter', async () => {
    await member(`'60s'`)
    await project.admin.query(`alter role postgres in database fresh set statement_timeout = '60s'`)
    try {
      await migrateIn(project.db, MIGRATION)
    } finally {
      await project.admin.query('alter role postgres in database fresh reset statement_timeout')
    }
    expect(await jobs()).toHaveLength(2)
  })
})

describe('a mistake in the list is an error that names the line, and nothing is changed', () => {
  // The lines around the mistake would change a job, a schedule and a Vault row.
  const above = line({ name: CRM, body: { mode: 'other' }, secret: 'new_row' })
  const below = line({ name: 'below' })
  const text = (mistake: string) => [above, mistake, below].join(',\n')

  const FUNCTION = '"function" must be letters, digits, _ and -'
  const SECONDS = '"answer_within" must be a whole number from 1 to 150'
  const SECRET = '"secret" must be the name of a Vault row that holds a key'
  const HEADER = '"header" must be "bearer", or letters, digits and -, and none that HTTP or pg_net sets itself'
  const NAME = '"name" must be the name of the job'
  const SCHEDULE = '"schedule" must be a schedule, like "*/15 * * * *"'
  const COMMA = 'a comma must stand between two lines, and not after the last'
  const JSON_ERROR = 'it must be {…} in JSON, on one line: '

  /** Fails unless each list is refused with a message that begins so, and the database is as it was. */
  async function refused(lists: string[], at: number, message: string) {
    await migrate()
    await project.fill()
    const before = [await jobs(), await stored()]
    for (const list of lists) {
      const said = (await refusal(withText(list))).message
      if (message === JSON_ERROR) expect(said, list).toMatch(`line ${at} of the list: ${message}`)
      else expect(said, list).toBe(`line ${at} of the list: ${message}`)
      expect([await jobs(), await stored()], list).toEqual(before)
    }
  }

  test('(but the same list without a mistake changes jobs and Vault rows)', async () => {
    await migrate()
    await migrateIn(project.db, withText(text(line())))
    expect((await jobs()).map(({ jobname }) => jobname)).toEqual([CRM, CHATTER, 'report', 'below'])
    expect(fieldsOf((await jobs())[0]?.command ?? '')).toMatchObject({ body: { mode: 'other' }, secret: 'new_row' })
    expect((await secrets()).map(({ name }) => name)).toEqual(['new_row', 'project_url', 'service_role_key'])
  })

  test.each([
    ['name', NAME, ['', 7, null, {}]],
    ['schedule', SCHEDULE, ['', 7, null]],
    [
      'function',
      FUNCTION,
      ["x'y", 'a%b', 'a\nb', 'a\n', '../admin', 'a/b', 'f?x=1', 'f#x', 'a b', 'é', '', null, 7, ['a'], {}]
    ],
    ['answer_within', SECONDS, [0, -1, 151, 150.5, 1.5, 1e9, '50', null, [50], true]],
    ['secret', SECRET, ['', 7, null, ['a'], 'project_url']],
    ['header', HEADER, ['', 'x secret', 'x-a\n', 'x-a\r\nx-b: c', 'x:y', 'x_y', 'é', 7, null, ['apikey']]]
  ])('"%s" out of its range', async (field, message, values) => {
    await refused(
      values.map((value) => text(line({ [field]: value }))),
      2,
      message
    )
  })

  test('a field that there is not', async () => {
    for (const field of ['retries', 'Body', 'command', '%s "x"'])
      await refused([text(line({ [field]: 1 }))], 2, `"${field}" must be left out: it is not a field`)
  })

  test('a field left out that each line needs', async () => {
    const needed = {
      name: NAME,
      schedule: SCHEDULE,
      function: FUNCTION,
      body: '"body" must be JSON',
      answer_within: SECONDS
    }
    for (const [field, message] of Object.entries(needed))
      await refused([text(line({ [field]: undefined }))], 2, message)
  })

  test('a field given twice', async () => {
    for (const [field, value] of Object.entries({ name: '"a"', body: '{}', secret: '"a"', answer_within: '50' })) {
      const twice = line({ secret: 'a' }).replace('{', () => `{"${field}": ${value}, `)
      await refused([text(twice)], 2, `"${field}" must be given once`)
    }
  })

  test('a header that HTTP or pg_net owns, however it is spelt', async () => {
    const owned = [
      'content-type',
      'content-length',
      'host',
      'transfer-encoding',
      'connection',
      'expect',
      'accept',
      'user-agent'
    ]
    const capital = (header: string) => header.replace(/\b[a-z]/g, (letter) => letter.toUpperCase())
    const spellings = owned.flatMap((header) => [header, capital(header), header.toUpperCase()])
    await refused(
      spellings.map((header) => text(line({ header }))),
      2,
      HEADER
    )
  })

  test('a header whose name only begins like one that HTTP owns is taken', async () => {
    const taken = ['host-key', 'x-host', 'accept-key', 'Bearer', 'bearer', 'apikey', 'Authorization', 'X-Cron-Secret']
    await migrateIn(project.db, withList(...taken.map((header, at) => line({ name: `job ${at}`, header }))))
    expect((await jobs()).map(({ command }) => fieldsOf(command ?? '')?.header)).toEqual(taken)
  })

  test('a name that a line above has', async () => {
    await refused([text(line({ name: CRM }))], 2, '"name" must differ from those above')
  })

  test('no comma between two lines', async () => {
    await refused([`${above}\n${line()},\n${below}`], 1, COMMA)
  })

  test('a comma after the last line', async () => {
    await refused([`${text(line())},`], 3, COMMA)
  })

  test('a line that is no JSON object', async () => {
    const single = `{'name': 'report'}`
    const two = `${line({ name: 'a' })}, ${line({ name: 'b' })}`
    const comma = line().replace(/}$/, ',}')
    const lines = ['report', '"report"', '[1]', 'null', '-- a job', single, two, line().slice(0, 40), comma]
    await refused(lines.map(text), 2, JSON_ERROR)
  })

  test('a body that jsonb cannot hold: U+0000, half a surrogate pair, a number that is too large', async () => {
    const bodies = ['"\\u0000"', '"\\ud83d"', '"\\ude00x"', '1e200000']
    const lines = bodies.map((body) => line({ body: 'BODY' }).replace('"BODY"', () => body))
    await refused(lines.map(text), 2, JSON_ERROR)
  })

  test('an empty list', async () => {
    await refused(['', '\n\n', '  '], 1, JSON_ERROR)
  })

  test('one that the Supabase CLI prints in fewer than 80 lines', async () => {
    const folder = copied(jobsMigration(), (sql) =>
      sql.replace('"function": "odoo-chatter-sync"', '"function": "../admin"')
    )
    const error = await migrationUp(folder).catch((thrown: Error) => thrown.message)
    expect(error).toContain(`line 2 of the list: ${FUNCTION}`)
    expect(error.split('\n').length).toBeLessThan(80)
    expect(await secrets()).toEqual([])
  })
})

describe('a body reaches the function as the same JSON value', () => {
  test.each<[string, unknown[]]>([
    ['every kind of value', [{}, null, 'text', '', 42.5, -1e3, true, false, [], [1, [], {}, null, 'x']]],
    [
      'texts that SQL, JSON or a shell would read',
      [`'single' "double" ''two'' \`tick\``, String.raw`\ \\ \n \u0041 \' `, 'a\r\n\tb', '-- x /* y */ ; commit;']
    ],
    ['dollars', ['$job$', '$migration$', '$line$', '$template$', '$history$', '$$', '$1', '$', '\\$', '\\u0024']],
    [
      'what stands for something else in a format, a pattern or the template',
      ['%', '%answer_within%', '%s %1$L %%', '{}', '\\1 \\&']
    ],
    ['other alphabets', ['🦊', 'é ж 漢 \u202e', '\u2028']],
    ["other fields' names", [{ answer_within: 1, function: 'other', secret: 'x', body: {}, name: 'y', schedule: 'z' }]],
    ['8 kB', [{ text: 'x'.repeat(8000) }]]
  ])('%s', async (_what, values) => {
    // Each value alone, and as the value and the name of a field.
    const bodies = values.flatMap((value) => [
      value,
      { value },
      typeof value === 'string' ? { [value]: [value] } : [value]
    ])
    await migrateIn(project.db, withList(...bodies.map((body, at) => line({ name: `job ${at}`, body }))))
    await project.fill()
    project.functions.behave('report')
    for (const at of bodies.keys()) expect(await project.run(`job ${at}`)).toMatchObject({ first: 'DO' })
    const arrived = project.functions.calls.map((call) => JSON.parse(call.body))
    expect(arrived).toEqual(bodies)
    expect((await jobs()).map(({ command }) => fieldsOf(command ?? '')?.body)).toEqual(bodies)
  })
})

test('a job whose literal key stood in a header of its own is cured by "secret" and "header"', async () => {
  await extensions()
  const [old, key] = [secretKey(), secretKey()]
  await schedule(
    'report',
    '0 4 * * *',
    `select net.http_post('${project.functions.url}/functions/v1/report', headers := '{"x-cron-secret": "${old}"}')`
  )
  await project.rows(`select set_config('app.settings.cron_secret', $1, false)`, [key])
  for (const migration of [withList(line({ secret: 'cron_secret', header: 'x-cron-secret' })), HISTORY_MIGRATION])
    await migrateIn(project.db, migration)
  await project.fill()
  const seen: [string, string | string[] | undefined][] = []
  project.functions.behave('report', {
    respond(request, response) {
      seen.push(...Object.entries(request.headers))
      response.end()
    }
  })
  expect(await project.run('report')).toMatchObject({ status: 'succeeded' })
  const names = seen.map(([name]) => name)
  expect(names).not.toContain('authorization')
  expect(names).not.toContain('apikey')
  expect(seen.filter(([, value]) => String(value).includes(key))).toEqual([['x-cron-secret', key]])
  expect(await jobs()).toMatchObject([{ jobid: '1', schedule: '0 4 * * *', command: expect.not.stringContaining(old) }])
})

describe('nothing that somebody made in public is called, although it fits better', () => {
  const raising = (name: string, returns: string) =>
    `create function public.${name} returns ${returns} language plpgsql as $$ begin raise 'hijacked'; end $$;`
  const functions = (name: string, returns = 'text') => [name, raising(name, returns)] as const
  const operators = (left: string, name: string, right: string, returns: string) =>
    [
      `${left} ${name} ${right}`,
      `${raising(`lookalike(${left}, ${right})`, returns)}
       create operator public.${name} (leftarg = ${left}, rightarg = ${right}, function = public.lookalike);`
    ] as const

  test.each([
    functions('format(text, text, text)'),
    functions('concat_ws(text, text, text)'),
    functions('unnest(text[])'),
    operators('jsonb', '->>', 'jsonb', 'text'),
    operators('text[]', '||', 'text', 'text[]'),
    operators('numeric', '<=', 'int', 'boolean'),
    operators('int', '*', 'interval', 'interval')
  ])('%s', async (_name, create) => {
    await migrate()
    await project.rows(
      `insert into cron.job_run_details (runid, jobid, command, status, return_message) values (1, 99, $1, 'failed', 'ERROR:  x')`,
      [literal(secretKey())]
    )
    await project.rows(create)
    // It would be called without the empty search_path: then this test would show nothing.
    const unsafe = [MIGRATION, HISTORY_MIGRATION].map((text) =>
      text.replace(/(do \$(migration|history)\$[\s\S]*?)set local search_path = '';/, '$1')
    )
    const errors: string[] = []
    for (const text of unsafe)
      errors.push(
        await project.db.query(text).then(
          () => '',
          (error) => error.message
        )
      )
    expect(errors).not.toEqual(['', ''])

    await migrate()
    expect(await project.rows('select command from cron.job_run_details')).toEqual([
      { command: expect.stringMatching(/^-- supabase-cron-vault removed/) }
    ])
  })
})

test('a third job, the way of the README: the first two keep everything, and the pgTAP suite passes', async () => {
  await migrate()
  await project.fill()
  const before = [await jobs(), await stored()]

  const folder = copied(jobsMigration(), (text) => text)
  const [, last, added] =
    /### Add a job[\s\S]*?```\w*\n *({"name": "[\w-]+").*,\n(.*)\n *```/.exec(
      fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8')
    ) ?? []
  const list = MIGRATION.split('\n').find((text) => text.trim().startsWith(last ?? '?')) ?? ''
  const copy = path.join(folder, 'supabase/migrations/20261201090000_nightly_report.sql')
  fs.writeFileSync(
    copy,
    MIGRATION.replace(list, () => `${list},\n${added}`)
  )
  await migrationUp(folder)

  expect([(await jobs()).slice(0, 2), await stored()]).toEqual(before)
  expect(await jobs()).toMatchObject([{}, {}, { jobname: 'nightly-report', schedule: '0 3 * * *', active: true }])
  project.functions.behave('nightly-report')
  for (const job of ['nightly-report', CRM]) expect(await project.run(job)).toMatchObject({ status: 'succeeded' })
  expect(project.functions.calls).toMatchObject([
    { function: 'nightly-report', body: '{}' },
    { body: '{"mode": "incremental"}' }
  ])
  const results = await runPgtap(project.url, () => {})
  expect(results.flatMap(({ complaints }) => complaints)).toEqual([])
  expect(results.map(({ file }) => file)).toEqual(files())
})
