/**
 * What happens when something breaks: what the run says, how often its function was called, and that the next run works
 * by itself. The README has these rows, in this order.
 */

import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { connect } from './lib/database.ts'
import { describe as shown } from './lib/keys.ts'
import { secretKey } from './stack/keys.ts'
import { type Server, startServer } from './stack/server.ts'
import { cli, ROOT } from './stack/stack.ts'
import { templates } from './stack/testing.setup.ts'
import {
  CHATTER,
  CRM,
  holdAKey,
  migrateIn,
  NAMED_DATABASE,
  occupy,
  type Run,
  restore,
  script,
  shorten,
  type TestProject,
  testProject
} from './stack/testing.ts'

const FUNCTION = 'odoo-crm-sync'
let project: TestProject
beforeAll(async () => {
  project = await testProject()
  await project.fill()
})
afterEach(() => project.functions.behave(FUNCTION))

const faults: string[] = []

/**
 * One row of the table.
 * @param says the run's status and, after a colon, the first line of its return_message; with the shipped durations
 * @param calls how often the function is called for this run
 * @param body makes the fault, mends it, and resolves to the run it hit
 */
function fault(what: string, says: string, calls: number, body: () => Promise<Run>, timeout = 30_000) {
  faults.push(`| ${what} | ${says} | ${calls} |`)
  test(what, { timeout }, async () => {
    project.functions.calls.length = 0
    const { status, first } = await body()
    const seconds = (text: string) => text.replace(/\d+(\.\d+)? s/g, 'n s')
    expect(seconds(`\`${status}\`: \`${first.replace(/^ERROR: {2}/, '')}\``)).toBe(seconds(says))
    const called = () => project.functions.calls.filter((call) => call.function === FUNCTION).length
    expect(called()).toBe(calls)

    project.functions.behave(FUNCTION)
    await restore(project, CRM)
    const next = await project.run(CRM)
    expect(`${next.status}: ${next.first}`).toBe('succeeded: DO')
    await sleep(100)
    expect(called()).toBe(calls + 1)
  })
}

const running = async () => {
  const held = project.functions.hold(FUNCTION)
  const run = project.run(CRM)
  await held.started
  return { run, release: held.release }
}

const queued = async () => (await project.rows('select id from net.http_request_queue')).length

/** The process id of pg_net's worker; 0 while there is none. */
const worker = async () =>
  (
    await project.rows<{ pid: number }>(
      `select pid from pg_stat_activity where application_name like 'pg_net%' and datname = current_database()`
    )
  )[0]?.pid ?? 0

/** Queues this many requests of somebody else, each answered after `delay` ms, and a run behind them. */
async function behind(requests: number, delay: number): Promise<Run> {
  const { functions, rows } = project
  functions.behave('others', { respond: (_request, response) => setTimeout(() => response.end(), delay) })
  const release = await occupy(project)
  const waiting = await queued()
  await rows('select net.http_post($1) from generate_series(1, $2)', [`${functions.url}/functions/v1/others`, requests])
  const run = project.run(CRM)
  await expect.poll(queued).toBe(waiting + requests + 1)
  release()
  const ended = await run
  await expect.poll(queued).toBe(0)
  return ended
}

fault(
  'the function never answers',
  `\`failed\`: \`${FUNCTION}: no answer within 50 s (the function may still be running)\``,
  1,
  async () => {
    project.functions.behave(FUNCTION, { respond() {} })
    await shorten(project, CRM, 0.5, 6)
    return project.run(CRM)
  }
)

fault(
  'it answers after the timeout',
  `\`failed\`: \`${FUNCTION}: no answer within 50 s (the function may still be running)\``,
  1,
  async () => {
    project.functions.behave(FUNCTION, { delay: 1000 })
    await shorten(project, CRM, 0.5, 6)
    const run = await project.run(CRM)
    await sleep(700)
    return run
  }
)

fault('it answers with 10 MB', '`succeeded`: `DO`', 1, () => {
  project.functions.behave(FUNCTION, { body: 'x'.repeat(10_000_000) })
  return project.run(CRM)
})

fault('it answers with something that is not HTTP', "`failed`: `odoo-crm-sync: <pg_net's own words>`", 1, async () => {
  project.functions.behave(FUNCTION, { respond: ({ socket }) => socket.end(Buffer.from([0, 255, 13, 10])) })
  const run = await project.run(CRM)
  expect(run.first).not.toMatch(/no answer within|not sent|no response|HTTP \d/)
  return { ...run, first: run.first.replace(/(?<=sync: )\w.*/, "<pg_net's own words>") }
})

fault('200 other requests are queued before it', '`succeeded`: `DO`', 1, () => behind(200, 100))

fault(
  '200 other requests are queued before it, and take longer than it waits',
  `\`failed\`: \`${FUNCTION}: not sent within 110 s, request withdrawn\``,
  0,
  async () => {
    await shorten(project, CRM, 0.5, 1)
    return behind(200, 2000)
  }
)

fault(
  "pg_net's worker takes nothing for several runs",
  `\`failed\`: \`${FUNCTION}: not sent within 110 s, request withdrawn\``,
  0,
  async () => {
    const release = await occupy(project)
    await shorten(project, CRM, 0.1, 0.2)
    const [first] = [await project.run(CRM), await project.run(CRM)]
    const run = await project.run(CRM)
    expect(run.first).toBe(first?.first)
    release()
    await expect.poll(queued).toBe(0)
    return run
  }
)

fault("pg_net's worker is restarted while it waits", '`succeeded`: `DO`', 1, async () => {
  const before = await worker()
  const { run, release } = await running()
  await project.rows('select net.worker_restart()')
  await sleep(100)
  release()
  const ended = await run
  await expect.poll(worker, { timeout: 5000 }).toBeGreaterThan(0)
  expect(await worker()).not.toBe(before)
  return ended
})

fault('statement_timeout is reached', '`failed`: `canceling statement due to statement timeout`', 1, async () => {
  const setting = `alter role postgres in database ${project.database}`
  await project.admin.query(`${setting} set statement_timeout = '500ms'`)
  project.functions.behave(FUNCTION, { delay: 800 })
  const run = await project.run(CRM)
  await project.admin.query(`${setting} reset statement_timeout`)
  await sleep(500)
  return run
})

fault('the key is rotated while it waits', '`succeeded`: `DO`', 1, async () => {
  const old = project.functions.key
  const { run, release } = await running()
  project.functions.key = secretKey()
  await project.fill()
  release()
  const ended = await run
  expect(project.functions.calls[0]?.key).toBe(shown(old))
  return ended
})

fault('two rotations at once', '`succeeded`: `DO`', 1, async () => {
  const keys = [secretKey(), secretKey()]
  const rotations = keys.map((input) => script('rotate', ['--no-try', '--db-url', project.url], {}, { input }))
  for (const { code } of await Promise.all(rotations)) expect(code).toBe(0)
  const [row] = await project.rows(
    `select decrypted_secret as key from vault.decrypted_secrets where name = 'service_role_key'`
  )
  expect(keys.includes(row?.key ?? '')).toBe(true)
  project.functions.key = row?.key ?? ''
  return project.run(CRM)
})

fault('the migration is run while both jobs run, and its transaction left open', '`succeeded`: `DO`', 1, async () => {
  const [crm, chatter] = [project.functions.hold(FUNCTION), project.functions.hold('odoo-chatter-sync')]
  const release = await occupy(project) // so that both are in one batch
  await holdAKey(project.db)
  const runs = [project.run(CRM), project.run(CHATTER)]
  await expect.poll(queued).toBe(3)
  release()
  await Promise.all([crm.started, chatter.started])
  await project.rows(`select cron.schedule('bystander', '0 0 1 1 *', 'select 1')`)
  await project.rows('begin')
  await migrateIn(project.db)
  expect(await project.run('bystander')).toMatchObject({ status: 'succeeded' })
  crm.release()
  chatter.release()
  const [run, other] = (await Promise.all(runs)) as [Run, Run]
  expect(other).toMatchObject({ status: 'succeeded' })
  await project.rows('commit')
  return run
})

fault(
  'a migration is killed (SIGKILL) half way, and run again',
  '`succeeded`: `DO`',
  1,
  async () => {
    const { admin, db, dir, functions, rows, url } = project
    const up = cli(dir, ['migration', 'up', `--remote=${url}`])
    /** Starts the Supabase CLI in a process group of its own; resolves to its exit code. */
    const migrate = () => {
      const child = spawn(process.execPath, up.args, { ...up.options, stdio: 'ignore', detached: true })
      return { pid: Number(child.pid), ended: new Promise((resolve) => child.once('exit', resolve)) }
    }
    const migrating = async (state: string) => {
      const sessions = `select from pg_stat_activity where pid <> pg_backend_pid() and query like any ('{%do $migration$%,%do $history$%}')`
      return (await db.query(`${sessions} and datname = current_database() ${state}`)).rowCount
    }
    const changed = async () =>
      (
        await rows(
          `select (select bool_and(command like '-- supabase-cron-vault%') from cron.job where jobname = any ($2)) as commands,
           (select count(*) = 2 from vault.secrets) as secrets,
           (select bool_and(strpos(command, $1) = 0) from cron.job_run_details) as history`,
          [functions.key, [CRM, CHATTER]]
        )
      )[0]

    for (const table of ['vault.secrets', 'cron.job', 'cron.job_run_details']) {
      await admin.query('delete from vault.secrets; drop schema if exists supabase_migrations cascade')
      for (const [name, path] of Object.entries({ [CRM]: FUNCTION, [CHATTER]: 'odoo-chatter-sync' })) {
        const headers = `{"Authorization": "Bearer ${functions.key}"}`
        const old = `select net.http_post('${functions.url}/functions/v1/${path}', headers := '${headers}')`
        await rows('select cron.schedule($1, $2, $3)', [name, '0 0 1 1 *', old])
      }
      await project.run(CRM)

      await admin.query(`begin; lock table ${table} in share mode`)
      const { pid, ended } = migrate()
      await expect.poll(() => migrating(`and wait_event_type = 'Lock'`)).toBe(1)
      process.kill(-pid, 'SIGKILL')
      await ended
      await admin.query('rollback')
      await expect.poll(() => migrating(`and state <> 'idle'`)).toBe(0)
      const { commands, secrets } = (await changed()) ?? {}
      expect(commands).toBe(secrets) // all of the first migration, or nothing
      expect(await migrate().ended).toBe(0)
      expect(await changed()).toEqual({ commands: true, secrets: true, history: true })
    }
    await project.fill()
    await expect.poll(queued).toBe(0) // the old command waits for nothing
    functions.calls.length = 0
    return project.run(CRM)
  },
  90_000
)

function crashes() {
  let server: Server
  beforeAll(async () => {
    server = await startServer('npm', ['synchronous_commit = on', 'wal_level = replica']) // it is killed, and must not forget
    await templates(server)
    project = await testProject('migrated', server)
    await project.fill()
    return server.stop
  })

  /** Waits until the server is back, and opens the project's sessions again. */
  async function back() {
    const session = async (url: string) => {
      for (;;) {
        const opened = await connect(url).catch(() => undefined)
        if (opened) return opened
        await sleep(50)
      }
    }
    project.db = await session(project.url)
    project.admin = await session(project.adminUrl)
  }

  const RESTARTED = 'server restarted'
  const CLOSED = 'server closed the connection unexpectedly'
  const CRASHED = `\`failed\`: \`${RESTARTED}\` or \`${CLOSED}\``

  /** A run that waits when `crash` brings the server down, as it is recorded once the server is back. */
  async function crashed(crash: () => unknown): Promise<Run> {
    const before = await project.run(CRM)
    project.functions.calls.length = 0
    const { run, release } = await running()
    run.catch(() => {}) // its session is gone
    await crash()
    await sleep(300)
    release()
    await back()
    const ended = await project.ended(CRM, before.runid)
    // Which of the two: the launcher may outlive the run's session for a moment.
    return [RESTARTED, CLOSED].includes(ended.first) ? { ...ended, first: `${RESTARTED}\` or \`${CLOSED}` } : ended
  }

  fault('the server is killed (SIGKILL) while a run waits, and brought back', CRASHED, 1, () =>
    crashed(() => server.kill())
  )

  fault("pg_net's worker is killed (SIGKILL) between commit and response", CRASHED, 1, () =>
    crashed(async () => process.kill(await worker(), 'SIGKILL'))
  )

  fault(
    'read-only mode (a full disk) while a run waits, and off again',
    '`failed`: `server restarted`',
    1,
    async () => {
      const readOnly = async (value: string) => {
        await project.admin.query(`alter system set default_transaction_read_only = ${value}`)
        await project.admin.query('select pg_reload_conf()')
        // All sessions get the signal together: this one, and the launcher's.
        await expect
          .poll(async () => (await project.admin.query('show default_transaction_read_only')).rows)
          .toEqual([{ default_transaction_read_only: value }])
      }
      const { run, release } = await running()
      await readOnly('on')
      const runs = async () => (await project.rows('select runid from cron.job_run_details')).length
      const before = await runs()
      const [chatter] = await project.rows('select jobid from cron.job where jobname = $1', [CHATTER])
      project.scheduler.runNow(chatter?.jobid ?? '')
      release()
      await sleep(1500)
      expect(await runs()).toBe(before)
      await readOnly('off')
      return run
    }
  )
}
// A server that was named is not crashed.
if (!NAMED_DATABASE) describe('a server of its own', crashes)

if (!NAMED_DATABASE)
  test('the README has a row for each fault', () => {
    const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8')
    const rows = readme.split('| what happens | the run says | calls |\n|---|---|---|\n')[1]?.split('\n\n')[0]
    expect(rows?.split('\n')).toEqual(faults)
  })
