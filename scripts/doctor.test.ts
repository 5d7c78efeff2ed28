/** Each finding of doctor is made to appear, and what it prints mends it. */

import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { examine, type Finding } from './lib/checks.ts'
import { connect } from './lib/database.ts'
import { legacyKey, secretKey } from './stack/keys.ts'
import { CHATTER, CRM, migrateIn, script, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
let key: string
async function begin() {
  project = await testProject()
  key = secretKey()
  project.functions.key = key
  await project.fill()
}
/** Tests that leave traces have a project each. */
function freshProjects() {
  beforeEach(begin)
  afterEach(() => project.stop())
}

const look = async (url = project.url): Promise<Finding[]> => {
  const session = await connect(url)
  try {
    return (await examine(session, url)).findings
  } finally {
    await session.end()
  }
}
const found = async (check: string, level: string) =>
  (await look()).find((finding) => finding.check === check && finding.level === level)
const failures = async () => (await look()).filter(({ level }) => level === 'failure').map(({ check }) => check)

/** Executes the statement that a finding prints, with the right value in its place. */
async function mend(finding: Finding | undefined) {
  if (!finding?.mend) throw new Error(`no mend in ${JSON.stringify(finding)}`)
  if (/^run the migration again/.test(finding.mend)) return void (await migrateIn(project.db))
  const value = /service_role_key/.test(finding.mend) ? key : project.functions.url
  await project.rows(finding.mend.replace('<value>', value))
}

const record = (job: string, status: string, minutes: number, message = 'DO') =>
  project.admin.query(
    `insert into cron.job_run_details (jobid, command, username, status, return_message, start_time, end_time)
     select jobid, command, username, $2, $4, now() - $3 * interval '1 minute', now() - $3 * interval '1 minute'
     from cron.job where jobname = $1`,
    [job, status, minutes, message]
  )

test('a healthy project has no failure and no warning', async () => {
  await begin()
  for (const job of [CRM, CHATTER]) await project.run(job)
  expect((await look()).filter(({ level }) => level !== 'ok')).toEqual([])
})

const own = `update cron.job set command = replace(command, E'\\nbegin', E'\\n-- by hand\\nbegin') where jobname = '${CRM}'`
const planted: [string, string, 'failure' | 'warning', string][] = [
  ['read-only', `alter database %db set default_transaction_read_only = on`, 'failure', 'the database is read-only'],
  ['statement_timeout', `alter role postgres in database %db set statement_timeout = '60s'`, 'warning', '60 s'],
  ['service_role_key', `delete from vault.secrets where name = 'service_role_key'`, 'failure', 'is missing'],
  [
    'service_role_key',
    `select vault.update_secret(id, '') from vault.secrets where name = 'service_role_key'`,
    'failure',
    'is empty'
  ],
  [
    'service_role_key',
    `select vault.update_secret(id, 'a b') from vault.secrets where name = 'service_role_key'`,
    'failure',
    'white space'
  ],
  [
    'service_role_key',
    `select vault.update_secret(id, 'sb_publishable_x') from vault.secrets where name = 'service_role_key'`,
    'failure',
    'publishable'
  ],
  [
    'service_role_key',
    `update vault.secrets set secret = 'broken' where name = 'service_role_key'`,
    'failure',
    'cannot be decrypted'
  ],
  ['project_url', `delete from vault.secrets where name = 'project_url'`, 'failure', 'is missing'],
  [
    'project_url',
    `select vault.update_secret(id, 'http://x.supabase.co') from vault.secrets where name = 'project_url'`,
    'failure',
    'is malformed'
  ],
  [
    'production',
    `select vault.update_secret(id, 'https://abcdefghijklmnopqrst.supabase.co') from vault.secrets where name = 'project_url'`,
    'warning',
    'hosted project'
  ],
  ['missing', `delete from cron.job where jobname = '${CRM}'`, 'failure', `no job ${CRM}`],
  ['paused', `update cron.job set active = false where jobname = '${CRM}'`, 'failure', 'is paused'],
  ['database', `update cron.job set database = 'template1' where jobname = '${CRM}'`, 'failure', 'another database'],
  ['schedule', `update cron.job set schedule = '*/20 * * * *' where jobname = '${CRM}'`, 'warning', '*/20'],
  ['command', own, 'failure', '-- by hand'],
  [
    'literal',
    `update cron.job set command = 'select ''Bearer 0123456789''' where jobname = '${CRM}'`,
    'failure',
    'literal key'
  ],
  [
    'unfinished',
    `insert into cron.job_run_details (jobid, status, start_time) select jobid, 'running', now() - interval '5 minutes' from cron.job where jobname = '${CRM}'`,
    'warning',
    'not ended'
  ],
  [
    'present',
    `insert into cron.job_run_details (jobid, username, status, command) values (99, 'postgres', 'failed', 'select ''%key''')`,
    'failure',
    'cron.job_run_details'
  ]
]
describe('a planted fault is found, and the statement that is printed mends it', () => {
  beforeAll(begin)
  test.each(planted)('%s: %s', async (check, sql, level, says) => {
    expect(await found(check, level)).not.toMatchObject({ title: expect.stringContaining(says) })
    await project.admin.query(sql.replace('%db', project.database).replace('%key', key))
    await project.db.query('select 1')
    const finding = await found(check, level)
    expect(JSON.stringify(finding)).toContain(says)
    expect(JSON.stringify(finding)).not.toContain(key)
    await mend(finding)
    expect(JSON.stringify(await found(check, level)) ?? '').not.toContain(says)
  })

  test("another role's job of the same name", async () => {
    const role = `twin_${project.database}`
    await project.rows(`create role ${role}`)
    await project.admin.query(`grant usage on schema cron to ${role}; set role ${role}`)
    await project.admin.query('select cron.schedule($1, $2, $3)', [CRM, '* * * * *', 'select 1'])
    await project.admin.query('reset role')
    const finding = await found('twin', 'failure')
    expect(finding?.title).toContain(role)
    await mend(finding)
    expect(await failures()).toEqual([])
  })
})

describe('a role with few rights', () => {
  freshProjects()
  const few = async (grants: string) => {
    const role = `few_${project.database}`
    await project.rows(`create role ${role} login password 'postgres'`)
    if (grants) await project.rows(grants.replaceAll('%role', role))
    const url = new URL(project.url)
    url.username = role
    return url.href
  }
  const rights = async (url: string) =>
    (await look(url)).filter(({ check, level }) => check === 'rights' && level === 'failure')

  test('that cannot see the jobs is a failure, and the statement mends it', async () => {
    const url = await few('alter role %role bypassrls')
    const [finding] = await rights(url)
    expect(finding?.title).toMatch(/cron.job cannot be seen/)
    await mend(finding)
    expect(await rights(url)).toEqual([])
  })

  test('from which row security hides the jobs is told so, and not that there are none', async () => {
    const url = await few(
      'grant usage on schema cron to %role; grant select on cron.job, cron.job_run_details to %role'
    )
    expect((await look(url)).filter(({ check }) => check === 'missing')).toEqual([])
    await mend((await rights(url))[0])
    expect(await rights(url)).toEqual([])
  })

  test('whose own session is read-only does not make the database so', async () => {
    const url = await few('alter role %role set default_transaction_read_only = on; alter role %role bypassrls')
    expect((await look(url)).filter(({ check }) => check === 'read-only')).toEqual([])
  })
})

test('a job of the right name that another role owns is a failure', async () => {
  await begin()
  const role = `other_${project.database}`
  await project.rows(`create role ${role}`)
  await project.admin.query(`grant usage on schema cron to ${role}`)
  await project.admin.query('update cron.job set username = $1 where jobname = $2', [role, CRM])
  const finding = await found('twin', 'failure')
  expect(finding?.title).toContain(role)
  await mend(finding)
  await migrateIn(project.db)
  expect(await failures()).toEqual([])
})

describe('the key', () => {
  beforeAll(begin)
  const year = 365 * 24 * 3600
  const now = Math.floor(Date.now() / 1000)
  const url = 'https://abcdefghijklmnopqrst.supabase.co'
  test.each([
    ['expiry', 'failure', () => legacyKey({ exp: now - year }), 'the key expired on'],
    ['expiry', 'warning', () => legacyKey({ exp: now + 10 * 24 * 3600 }), 'the key expires on'],
    ['legacy', 'warning', () => legacyKey(), 'legacy key'],
    ['project', 'failure', () => legacyKey({ ref: 'zyxwvutsrqponmlkjihg' }), 'another project']
  ] as const)('%s is a %s', async (check, level, make, says) => {
    await project.fill({ url })
    expect(await found(check, level)).toBeUndefined()
    await project.fill({ url, key: make() })
    expect((await found(check, level))?.title).toContain(says)
    expect((await found(check, level))?.mend).toMatch(/^npm run rotate/)
  })
})

describe('runs', () => {
  freshProjects()
  test('a refused key is a failure until a run succeeds', async () => {
    await project.fill({ key: secretKey() })
    await project.run(CRM)
    expect(await found('refused', 'failure')).toMatchObject({
      actual: 'odoo-crm-sync: HTTP 401',
      mend: 'npm run rotate'
    })
    await project.fill()
    await project.run(CRM)
    expect(await failures()).toEqual([])
    expect((await found('recovered', 'warning'))?.actual).toBe('1 × odoo-crm-sync: HTTP 401')
  })

  /** Minutes since a job last was due. */
  const sinceDue = (every: number) => (Date.now() / 60_000) % every

  test('two successes missed, and three minutes, is a failure', async () => {
    await record(CRM, 'succeeded', sinceDue(15) + 15)
    await record(CHATTER, 'succeeded', sinceDue(60) + 60)
    expect(await failures()).toEqual([])
    await record(CHATTER, 'failed', 1, 'ERROR:  odoo-chatter-sync: HTTP 500')
    expect((await found('failed', 'warning'))?.actual).toBe('odoo-chatter-sync: HTTP 500')
    await project.rows(`update cron.job_run_details set start_time = start_time - interval '2 hours'`)
    const overdue = (await look()).filter(({ check }) => check === 'overdue')
    expect(overdue.map(({ title }) => title)).toEqual([
      `${CRM} has missed two successes`,
      `${CHATTER} has missed two successes`
    ])
    for (const job of [CRM, CHATTER]) await project.run(job)
    expect(await failures()).toEqual([])
  })

  test('an uneven schedule is judged by its own times', async () => {
    const today = new Date()
    const yesterday = (today.getUTCDay() + 6) % 7 // the job ran yesterday, and is due again in four days
    const when = `${today.getUTCMinutes()} ${today.getUTCHours()} * * ${yesterday},${(yesterday + 5) % 7}`
    await project.admin.query('update cron.job set schedule = $1 where jobname = $2', [when, CRM])
    await record(CRM, 'succeeded', 24 * 60)
    expect(await failures()).toEqual([])
  })

  test.each(['@reboot', '0 0 31 2 *'])('the schedule %s is a warning, and the rest is examined', async (when) => {
    await project.admin.query('update cron.job set schedule = $1 where jobname = $2', [when, CRM])
    await project.run(CRM)
    expect((await found('schedule', 'warning'))?.title).toBeDefined()
    expect(await failures()).toEqual([])
  })

  test('a run refused before the rotation is a warning', async () => {
    await project.fill({ key: secretKey() })
    await project.run(CRM)
    await project.fill()
    expect((await found('rotated', 'warning'))?.actual).toBe('odoo-crm-sync: HTTP 401')
    expect(await failures()).toEqual([])
  })

  test('a job that only ever starts is a failure in time', async () => {
    await project.admin.query(
      `insert into cron.job_run_details (jobid, status, start_time) select jobid, 'running', now() - n * interval '15 minutes'
       from cron.job, generate_series(1, 8) as n where jobname = $1 order by n desc`,
      [CRM]
    )
    expect(await failures()).toEqual(['overdue'])
    expect((await found('unfinished', 'warning'))?.title).toContain('8 runs')
  })

  test('a key in a message is not printed', async () => {
    await record(CRM, 'failed', 1, `ERROR:  column "Bearer ${key}" does not exist, nor "Bearer 0123456789abcdef"`)
    const { out } = await script('doctor', ['--db-url', project.url])
    expect(out).toContain('[key]')
    expect(out).not.toContain(key)
    expect(out).not.toContain('0123456789abcdef')
  })

  test('a job that never succeeded is a failure once it has had the time', async () => {
    await record(CRM, 'failed', 40, 'ERROR:  odoo-crm-sync: HTTP 500')
    expect((await found('overdue', 'failure'))?.actual).toMatch(/last success never; .*HTTP 500/)
  })

  test('a job that has not run yet is a warning', async () => {
    expect((await found('never', 'warning'))?.title).toBe(`${CRM} has not run yet`)
    await project.run(CRM)
    await project.run(CHATTER)
    expect(await found('never', 'warning')).toBeUndefined()
  })

  test('a history of 100 MB is a warning, and the statement purges it', async () => {
    await project.admin.query('alter table cron.job_run_details alter command set storage external')
    await project.admin.query(
      `insert into cron.job_run_details (jobid, command, status, end_time, start_time)
       select 99, repeat('x', 1000000), 'succeeded', now() - interval '31 days', now() from generate_series(1, 110)`
    )
    const finding = await found('history', 'warning')
    expect(finding?.actual).toMatch(/1\d\d MB/)
    await mend(finding)
    expect(await project.run('purge-cron-history')).toMatchObject({ message: 'DELETE 110' })
  })
})

test('a dead worker and a dead launcher are failures', async () => {
  await begin()
  await Promise.all([project.net.stop(), project.scheduler.stop()])
  expect(await failures()).toEqual(['launcher', 'worker'])
  project.startNet()
  await expect.poll(failures, { timeout: 8000 }).toEqual(['launcher'])
})

test('answers of 401 that no failed run accounts for are a warning', async () => {
  await begin()
  await project.rows(`select net.http_post(url := $1, headers := '{"Authorization": "Bearer x"}')`, [
    `${project.functions.url}/functions/v1/odoo-crm-sync`
  ])
  await expect
    .poll(async () => (await found('hidden', 'warning'))?.title, { timeout: 5000 })
    .toMatch(/^1 answers of 401/)
})

describe('a key outside Vault', () => {
  freshProjects()
  const places: [string, string][] = [
    ['job', `select cron.schedule('foreign', '* * * * *', 'select ''%key''')`],
    ['function', `create function public.leaky() returns text language sql as $$ select '%key'::text $$`],
    ['function', `create function public.standard() returns text return '%key'`],
    [
      'trigger',
      `create table public.t (); create trigger hook before update on public.t execute function suppress_redundant_updates_trigger('%key')`
    ],
    ['a setting', `alter database %db set app.settings.service_role_key = '%key'`],
    ['migration', `insert into supabase_migrations.schema_migrations values ('1', array['select ''%key'''])`]
  ]
  test.each(places)('the present key in a %s is a failure, another one a warning', async (place, sql) => {
    await project.admin.query(sql.replace('%key', key).replace('%db', project.database))
    const finding = await found('present', 'failure')
    expect(finding?.title).toContain(`stands in ${place}`)
    await project.fill({ key: secretKey() })
    const check = place === 'job' ? 'foreign' : 'literal'
    expect(JSON.stringify(await found(check, 'warning'))).toContain(place)
    expect(await failures()).toEqual([])
  })

  test('the present key in the statement statistics is a failure, and a reset mends it', async () => {
    await project.admin.query(`do $$ begin perform '${key}'; end $$`)
    const finding = await found('present', 'failure')
    expect(finding?.title).toContain('pg_stat_statements')
    await project.admin.query(finding?.mend ?? '')
    expect(await failures()).toEqual([])
  })
})

describe('the command', () => {
  freshProjects()
  test('says that the commands it names need the database it was given', async () => {
    await project.fill({ key: 'sb_publishable_x' })
    const said = 'Give the npm commands above the same --db-url.'
    expect((await script('doctor', ['--db-url', project.url])).out).toContain(said)
    expect((await script('doctor', [], { DATABASE_URL: project.url })).out).not.toContain(said)
  })

  test('exits 0 on a healthy project and 1 on a fault, and prints no key', async () => {
    const healthy = await script('doctor', ['--db-url', project.url])
    expect(healthy).toMatchObject({
      code: 0,
      err: '',
      out: expect.stringMatching(/Healthy: 0 failures, 2 warnings\.\n$/)
    })
    await project.rows(`select cron.alter_job(jobid, active := false) from cron.job where jobname = '${CRM}'`)
    const sick = await script('doctor', [], { DATABASE_URL: project.url })
    expect(sick).toMatchObject({
      code: 1,
      out: expect.stringMatching(/✗ odoo-crm-sync-incremental is paused\n.*mend: +select cron\.alter_job/)
    })
    for (const { out } of [healthy, sick]) expect(out).not.toContain(key)
  })

  test('--json gives the same as data', async () => {
    await project.run(CRM)
    const { code, out } = await script('doctor', ['--db-url', project.url, '--json'])
    const report = JSON.parse(out)
    expect(code).toBe(0)
    expect(report).toMatchObject({
      healthy: true,
      findings: expect.arrayContaining([expect.objectContaining({ group: 'jobs', check: 'job', level: 'ok' })]),
      runs: [
        { job: CRM, runs: [{ status: 'succeeded', reason: 'DO' }], lastFailure: null },
        { job: CHATTER, runs: [], lastSuccess: null }
      ]
    })
  })

  test('shows the last runs as a row of marks, with the last success and the reason of the last failure', async () => {
    await project.run(CRM)
    project.functions.behave('odoo-crm-sync', { status: 500 })
    await project.run(CRM)
    const { out } = await script('doctor', ['--db-url', project.url])
    expect(out).toMatch(
      /odoo-crm-sync-incremental {2}✓✗\n +last success: 20.*Z\n +last failure: 20.*Z {2}odoo-crm-sync: HTTP 500/
    )
  })

  test.each([
    ['no database', ['--db-url', 'postgresql://postgres:x@127.0.0.1:1/postgres'], 1, /cannot connect/],
    ['a URL that is none', ['--db-url', 'x'], 2, /no database URL/],
    ['an unknown option', ['--fix'], 2, /Unknown option '--fix'/]
  ])('%s is a clear error', async (_name, args, exit, message) => {
    const { code, err } = await script('doctor', args)
    expect({ code, err }).toEqual({ code: exit, err: expect.stringMatching(message) })
  })

  test('a database without the extensions says what to run', async () => {
    const fresh = await testProject('fresh')
    const { code, out } = await script('doctor', ['--db-url', fresh.url])
    expect(code).toBe(1)
    expect(out).toMatch(/✗ pg_cron is not installed\n.*create extension if not exists pg_cron; -- then the migration/)
  })
})
