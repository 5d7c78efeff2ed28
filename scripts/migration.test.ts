/** The migration on every database it may meet. Each test has a fresh one. */

import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { files, runPgtap } from './lib/pgtap.ts'
import { legacyKey, secretKey } from './stack/keys.ts'
import { ROOT, supabase } from './stack/stack.ts'
import { CHATTER, CRM, MIGRATION, migrateIn, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
beforeEach(async () => {
  project = await testProject('fresh')
})
afterEach(() => project.stop())

const migrate = () => migrateIn(project.db)
const extensions = () =>
  project.rows('create extension if not exists pg_cron; create extension if not exists pg_net with schema extensions')
const jobs = () => project.rows('select jobid, jobname, schedule, active, command from cron.job order by jobid')
const secrets = () => project.rows('select * from vault.decrypted_secrets order by name')

/** The command as production has it: one function called with a literal key. */
const literal = (key: string, name = 'odoo-crm-sync') => `select net.http_post(
  url := 'https://abcdefghijklmnopqrst.supabase.co/functions/v1/${name}',
  headers := jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ${key}'),
  body := '{"mode": "incremental"}'::jsonb)`

/** Records a run that has ended (or not); resolves to its runid. */
async function record(command: string, { status = 'succeeded', message = '1 row', jobid = 4 } = {}) {
  const [run] = await project.rows<{ runid: string }>(
    `insert into cron.job_run_details (runid, jobid, database, username, command, status, return_message, start_time, end_time)
     values ((select coalesce(max(runid), 0) + 1 from cron.job_run_details), $1, 'postgres', 'postgres', $2, $3, $4, now(), now())
     returning runid`,
    [jobid, command, status, message]
  )
  return run?.runid
}
const history = () => project.rows('select * from cron.job_run_details order by runid')

describe('an empty database', () => {
  test('gets the two jobs with their schedules', async () => {
    await migrate()
    expect(await jobs()).toMatchObject([
      { jobname: CRM, schedule: '*/15 * * * *', active: true },
      { jobname: CHATTER, schedule: '0 * * * *', active: true }
    ])
  })

  test('gets two empty Vault rows, and a warning for each with the statement that fills it', async () => {
    const warnings = await migrate()
    expect(await secrets()).toMatchObject([
      { name: 'project_url', decrypted_secret: '', description: expect.stringMatching(/cron jobs/) },
      {
        name: 'service_role_key',
        decrypted_secret: '',
        description: expect.stringMatching(/rotate it, update this row/)
      }
    ])
    expect(warnings).toHaveLength(2)
    for (const warning of warnings) {
      const statement = /(select vault\.update_secret.*;)$/.exec(warning)?.[1] ?? ''
      await project.rows(statement.replace('<value>', 'filled'))
    }
    expect(await secrets()).toMatchObject([{ decrypted_secret: 'filled' }, { decrypted_secret: 'filled' }])
  })

  test('commands stay short, since every run stores one', async () => {
    await migrate()
    for (const job of await jobs()) expect(job.command?.length).toBeLessThan(3200)
  })
})

test('the Supabase CLI pushes it, and a reset applies it again and keeps the Vault rows', async () => {
  await supabase(project.dir, 'db', 'push', `--remote=${project.url}`)
  await project.fill()
  const before = await secrets()
  expect(await jobs()).toMatchObject([{ jobname: CRM }, { jobname: CHATTER }])
  await supabase(project.dir, 'db', 'reset', `--remote=${project.url}`)
  expect(await jobs()).toMatchObject([{ jobname: CRM }, { jobname: CHATTER }])
  expect(await secrets()).toEqual(before)
  expect(await project.run(CRM)).toMatchObject({ status: 'succeeded' })
})

describe('a second and a third run', () => {
  test('change nothing', async () => {
    await migrate()
    const before = [await jobs(), await secrets()]
    await migrate()
    await migrate()
    expect([await jobs(), await secrets()]).toEqual(before)
  })
})

describe('the Vault rows', () => {
  const key = secretKey()

  test('come from the session settings where they are missing', async () => {
    await project.rows(
      `set app.settings.service_role_key = '${key}'; set app.settings.project_url = 'https://x.supabase.co'`
    )
    expect(await migrate()).toEqual([])
    expect(await secrets()).toMatchObject([{ decrypted_secret: 'https://x.supabase.co' }, { decrypted_secret: key }])
  })

  test('come from the session settings where they are empty', async () => {
    await migrate()
    await project.rows(`set app.settings.service_role_key = '${key}'`)
    await migrate()
    expect(await secrets()).toMatchObject([{ decrypted_secret: '' }, { decrypted_secret: key }])
  })

  test('are left as they are where they have a value, description included', async () => {
    await project.rows(`select vault.create_secret('${key}', 'service_role_key', 'by hand')`)
    await project.rows(`set app.settings.service_role_key = 'another'`)
    const [before] = await secrets()
    await migrate()
    expect((await secrets())[1]).toEqual(before)
  })

  test('get a description where they have none', async () => {
    await project.rows(`select vault.create_secret('${key}', 'service_role_key')`)
    await migrate()
    expect((await secrets())[1]).toMatchObject({ decrypted_secret: key, description: expect.stringMatching(/rotate/) })
  })

  test('are left as they are where they cannot be decrypted, with a warning that mends', async () => {
    await project.rows(`select vault.create_secret('', 'service_role_key')`)
    for (const broken of ['not base64!', 'bm90IGVuY3J5cHRlZA==']) {
      await project.admin.query(`update vault.secrets set secret = $1`, [broken])
      await project.rows(`set app.settings.service_role_key = 'another'`)
      const [warning] = await migrate()
      expect(warning).toMatch(/"service_role_key" cannot be decrypted/)
      expect(await project.rows(`select secret from vault.secrets where name = 'service_role_key'`)).toEqual([
        { secret: broken }
      ])
      await project.rows(/delete from vault.*$/.exec(warning ?? '')?.[0].replace('<value>', key) ?? '')
      expect((await secrets()).find((secret) => secret.name === 'service_role_key')?.decrypted_secret).toBe(key)
      await project.rows(`delete from vault.secrets where name = 'project_url'`)
    }
  })

  test('are never lifted from an old command', async () => {
    await extensions()
    await project.rows('select cron.schedule($1, $2, $3)', [CRM, '* * * * *', literal(key)])
    await migrate()
    expect(await secrets()).toMatchObject([{ decrypted_secret: '' }, { decrypted_secret: '' }])
  })

  test('are written so that the clear text is in no file of the server', async () => {
    const found = async (text: string) => {
      await project.admin.query('checkpoint')
      const [own] = await project.rows(
        `select 'base/' || oid as folder from pg_database where datname = current_database()`
      )
      return ['pg_wal', own?.folder ?? ''].some((folder) =>
        fs
          .readdirSync(path.join(project.dir, 'data', folder), { withFileTypes: true })
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

describe('jobs that are there already', () => {
  test('keep id, schedule, database and active flag; only the command is new', async () => {
    await extensions()
    for (const name of ['a', 'b', 'c'])
      await project.rows('select cron.schedule($1, $2, $3)', [name, '* * * * *', 'select 1'])
    await project.rows('select cron.schedule($1, $2, $3)', [CRM, '*/20 * * * *', literal(legacyKey())])
    await project.rows('select cron.schedule($1, $2, $3)', [
      CHATTER,
      '0 * * * *',
      literal(legacyKey(), 'odoo-chatter-sync')
    ])
    await project.rows('select cron.alter_job(5, active := false)')
    const before = await project.rows('select jobid, schedule, database, active, jobname from cron.job order by 1')
    await migrate()
    expect(await project.rows('select jobid, schedule, database, active, jobname from cron.job order by 1')).toEqual(
      before
    )
    const commands = await jobs()
    expect(commands[2]?.command).toBe('select 1')
    expect(commands[3]?.command).toMatch(/vault\.decrypted_secrets[\s\S]*odoo-crm-sync/)
    expect(commands[4]?.command).toMatch(/vault\.decrypted_secrets[\s\S]*odoo-chatter-sync/)
  })

  test('the other one is created where only one is there', async () => {
    await extensions()
    await project.rows('select cron.schedule($1, $2, $3)', [CHATTER, '5 * * * *', 'select 1'])
    await migrate()
    expect(await jobs()).toMatchObject([{ jobname: CHATTER, schedule: '5 * * * *' }, { jobname: CRM }])
  })

  test('another job with a literal key is a warning with its id and name, and never the key', async () => {
    await extensions()
    const [jwt, secret, opaque] = [legacyKey(), secretKey(), 'opaque-token-0123456789']
    for (const [name, key] of Object.entries({ jwt, secret, opaque }))
      await project.rows('select cron.schedule($1, $2, $3)', [name, '* * * * *', literal(key, 'another')])
    await project.rows('select cron.schedule($1, $2)', ['* * * * *', literal(jwt, 'another')])
    await project.rows('select cron.schedule($1, $2, $3)', ['clean', '* * * * *', 'select 1'])
    const warnings = (await migrate()).filter((warning) => warning.startsWith('job'))
    expect(warnings.map((warning) => warning.replace(/ carries .*/, ''))).toEqual([
      'job 1 (jwt)',
      'job 2 (secret)',
      'job 3 (opaque)',
      'job 4 (without a name)'
    ])
    for (const key of [jwt, secret, opaque]) expect(warnings.join()).not.toContain(key.slice(0, 12))
    expect((await jobs())[0]?.command).toContain(jwt)
  })
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
    'is an error that names job and owner, and changes nothing (one of ours beside it: %s)',
    async (beside) => {
      const role = `Other ${project.database}`
      await owned(role)
      if (beside) await project.rows('select cron.schedule($1, $2, $3)', [CHATTER, '0 * * * *', literal(legacyKey())])
      await record(literal(legacyKey()))
      const before = [await jobs(), await secrets(), await history()]
      const error = await migrate().catch((thrown) => thrown)
      expect(error.message).toContain(`"${CHATTER}"`)
      expect(error.message).toContain(`"${role}"`)
      expect([await jobs(), await secrets(), await history()]).toEqual(before)

      await project.rows(/grant .*/.exec(error.detail)?.[0] ?? '') // the way out
      await migrate()
      expect((await jobs()).map((job) => job.jobname).sort()).toEqual([CHATTER, CRM])
      expect(await project.rows('select current_user as role')).toEqual([{ role: 'postgres' }])
    }
  )

  test("is Supabase support's to remove where supabase_admin owns it", async () => {
    await extensions()
    await project.admin.query('select cron.schedule($1, $2, $3)', [CRM, '0 * * * *', 'select 1'])
    await expect(migrate()).rejects.toMatchObject({
      message: expect.stringContaining('"supabase_admin"'),
      detail: expect.stringContaining('Supabase support')
    })
  })
})

describe('the history', () => {
  const [jwt, secret, opaque] = [legacyKey(), secretKey(), 'Opaque.token+/=0123456789']
  const url = 'https://abcdefghijklmnopqrst.supabase.co/functions/v1/odoo-crm-sync'

  const commands: [string, string, string][] = [
    ['jsonb_build_object, a JWT', jwt, literal(jwt)],
    ['jsonb_build_object, a secret key', secret, literal(secret)],
    ['jsonb_build_object, an opaque token', opaque, literal(opaque)],
    [
      'a JSON literal in lower case',
      opaque,
      `net.http_post('${url}', '{}', '{}', '{"authorization":"bearer ${opaque}"}')`
    ],
    [
      'escapes and upper case',
      opaque,
      `net.http_post('${url}', headers := E'{\\"AUTHORIZATION\\": \\"BEARER ${opaque}\\"}')`
    ],
    [
      'a dollar-quoted literal',
      opaque,
      `net.http_post('${url}', headers := $$\{"Authorization": "Bearer ${opaque}"}$$)`
    ],
    ['a token joined on', opaque, `net.http_post('${url}', headers := ('Authorization', 'Bearer ' || '${opaque}'))`],
    [
      'the same token in apikey',
      opaque,
      `net.http_post('${url}', '{"apikey": "${opaque}", "Authorization": "Bearer ${opaque}"}')`
    ],
    ['a JWT in apikey alone', jwt, `net.http_post('${url}', headers := '{"apikey": "${jwt}"}')`],
    [
      'a URL put together',
      opaque,
      `net.http_post(url || 'odoo-crm-sync', headers := '{"Authorization": "Bearer ${opaque}"}')`
    ],
    [
      'a host of its own',
      opaque,
      `net.http_post('https://x.functions.supabase.co/odoo-chatter-sync', '{"x": "Bearer ${opaque}"}')`
    ]
  ]
  test.each(commands)('loses the key: %s', async (_name, key, command) => {
    await extensions()
    await record(command, { jobid: 17, message: `ERROR: seen ${key}` })
    await migrate()
    const [run] = await history()
    expect(JSON.stringify(run)).not.toContain(key.slice(0, 12))
    expect(run).toMatchObject({
      command: expect.stringMatching(/odoo-.*\[key\]/s),
      return_message: 'ERROR: seen [key]'
    })
  })

  test('loses a key in a run of one of these jobs that called its function through another', async () => {
    await extensions()
    const [job] = await project.rows<{ id: string }>('select cron.schedule($1, $2, $3) as id', [
      CRM,
      '* * * * *',
      'select 1'
    ])
    await record(`select public.sync('${jwt}')`, { jobid: Number(job?.id) })
    await record(`select public.other('${jwt}')`, { jobid: 99 })
    await migrate()
    expect((await history()).map((run) => run.command)).toEqual([
      `select public.sync('[key]')`,
      `select public.other('${jwt}')`
    ])
  })

  test('loses a key that an error message cut off', async () => {
    await extensions()
    const detail = (key: string) =>
      `ERROR:  null value\nDETAIL:  Failing row contains (1, POST, null, {"Authorization": "Bearer ${key.slice(0, 20)}..., ...).\n`
    await record(literal(opaque), { status: 'failed', message: detail(opaque) })
    await record(literal(jwt), { status: 'failed', message: detail(jwt) })
    await migrate()
    for (const run of await history()) expect(run.return_message).toMatch(/Bearer \[key\][., ]*/)
  })

  test('keeps rows, ids, times and statuses', async () => {
    await extensions()
    await record(literal(jwt))
    await record(literal(jwt), { status: 'failed', message: 'ERROR:  x\n' })
    const kept = (run: Record<string, string>) => ({ ...run, command: '' })
    const before = (await history()).map(kept)
    await migrate()
    expect((await history()).map(kept)).toEqual(before)
  })

  test('keeps what is not a call of these functions with a literal key', async () => {
    await extensions()
    await record(literal(jwt, 'odoo-crm-sync-v2'))
    await record(literal(opaque, 'another'))
    await record(
      `select net.http_post('${url}', headers := jsonb_build_object('Authorization', 'Bearer ' || (select decrypted_secret from vault.decrypted_secrets where name = 'k')))`
    )
    await record(
      `select net.http_post('${url}', headers := jsonb_build_object('Authorization', format('Bearer %s', v)))`
    )
    const before = await history()
    await migrate()
    expect(await history()).toEqual(before)
  })

  test('keeps the runs of the new commands', async () => {
    await migrate()
    for (const job of await jobs()) await record(job.command ?? '')
    const before = await history()
    await migrate()
    expect(await history()).toEqual(before)
  })

  test('a run in progress is neither changed nor locked, and loses its key the next time', async () => {
    await extensions()
    const runid = await record(literal(jwt), { status: 'running' })
    await record(literal(jwt))
    await project.rows('begin')
    await migrate()
    await project.admin.query(`set lock_timeout = '500ms'`)
    await project.admin.query(`update cron.job_run_details set status = 'succeeded' where runid = $1`, [runid])
    await project.rows('commit')
    expect((await history())[0]?.command).toContain(jwt)
    await migrate()
    expect((await history())[0]?.command).not.toContain(jwt)
  })

  test('thousands of runs lose their keys', async () => {
    await extensions()
    await project.rows(
      `insert into cron.job_run_details (runid, jobid, command, status, return_message)
       select n, 4, $1, 'succeeded', n || ' rows' from generate_series(1, 5000) as n`,
      [literal(jwt)]
    )
    await migrate()
    expect(
      await project.rows(`select count(*)::int as n from cron.job_run_details where command like '%eyJ%'`)
    ).toEqual([{ n: 0 }])
  })
})

describe('a line in the list that is not right', () => {
  test.each([
    ['no body', `"body": {"mode": "missing"}, `, ''],
    ['a misspelt answer_within', '"answer_within": 50}\n', '"answer_witin": 50}\n'],
    ['more time than a run has', '"answer_within": 50}\n', '"answer_within": 90}\n']
  ])('%s: an error that names the job, and nothing is changed', async (_name, from, to) => {
    await migrate()
    const before = [await jobs(), await secrets()]
    const error = await migrateIn(project.db, MIGRATION.replace(from, to)).catch((thrown) => thrown)
    expect(error.message).toBe(`the line of job "${CHATTER}" in the list is not right`)
    expect([await jobs(), await secrets()]).toEqual(before)
  })
})

test('a third job, the way of the README: the first two keep everything, and the pgTAP suite passes', async () => {
  await migrate()
  await project.fill()
  const before = [await jobs(), await secrets()]

  const folder = fs.mkdtempSync(path.join(project.dir, 'third-job-'))
  fs.cpSync(path.join(ROOT, 'supabase'), path.join(folder, 'supabase'), { recursive: true })
  const [, last, added] =
    /### Add a job[\s\S]*?```\n *({"name": "[\w-]+").*,\n(.*)\n```/.exec(
      fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8')
    ) ?? []
  const line = MIGRATION.split('\n').find((text) => text.trim().startsWith(last ?? '?')) ?? ''
  const copy = path.join(folder, 'supabase/migrations/20261201090000_nightly_report.sql')
  fs.writeFileSync(copy, MIGRATION.replace(line, `${line},\n${added}`))
  await supabase(project.dir, 'migration', 'up', `--remote=${project.url}`, '--workdir', folder)

  expect([(await jobs()).slice(0, 2), await secrets()]).toEqual(before)
  expect(await jobs()).toMatchObject([{}, {}, { jobname: 'nightly-report', schedule: '0 3 * * *', active: true }])
  project.functions.behave('nightly-report')
  for (const job of ['nightly-report', CRM]) expect(await project.run(job)).toMatchObject({ status: 'succeeded' })
  expect(project.functions.calls).toMatchObject([
    { function: 'nightly-report', body: '{}' },
    { body: '{"mode": "incremental"}' }
  ])
  const results = await runPgtap(project.url, () => {})
  expect(results.flatMap(({ complaints }) => complaints)).toEqual([])
  expect(results.length).toBe(files().length)
})
