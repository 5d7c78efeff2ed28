/** Every way a run can end, as data: one table, for the stand-in of pg_cron and for the real one. */

import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { legacyKey, secretKey } from './keys.ts'
import type { Run, TestProject } from './testing.ts'

export interface Outcome {
  name: string
  /** Prepares the project: its Vault rows are filled, its functions answer 200, pg_net's worker runs. */
  arrange?(project: TestProject): unknown
  /** Seconds that the function may take, and until the run gives up, where not the shipped ones. */
  durations?: [number, number]
  /** Another command than the CRM job's. */
  command?: string
  status: 'succeeded' | 'failed'
  /** How return_message begins, as libpq lays it out. */
  message: string
  /** What else is to be seen once the run has ended. */
  check?(project: TestProject, run: Run): unknown
}

const FUNCTION = 'odoo-crm-sync'
const error = (text: string) => ({ status: 'failed' as const, message: `ERROR:  ${FUNCTION}: ${text}` })
const SUCCEEDED = { status: 'succeeded' as const, message: 'DO' }
const redirect = (path: string) => ({ status: 302, body: '', headers: { location: `/functions/v1/${path}` } })

/** Starts pg_net's worker as soon as so many requests are queued. */
async function startNetAt(project: TestProject, requests: number) {
  const queued = async () => (await project.rows('select id from net.http_request_queue')).length
  while ((await queued()) < requests) await sleep(20)
  project.startNet()
}

const answers: Outcome[] = [
  {
    name: 'a 200 is a run that succeeded',
    ...SUCCEEDED,
    check: ({ functions }) =>
      expect(functions.calls).toMatchObject([
        { function: FUNCTION, method: 'POST', body: '{"mode": "incremental"}', status: 200 }
      ])
  },
  {
    name: 'a 204 is a run that succeeded',
    arrange: ({ functions }) => functions.behave(FUNCTION, { status: 204, body: '' }),
    ...SUCCEEDED
  },
  {
    name: 'a 200 whose body is not UTF-8 is a run that succeeded',
    arrange: ({ functions }) => functions.behave(FUNCTION, { body: Buffer.from([0xff, 0xfe, 0x41]) }),
    ...SUCCEEDED
  },
  {
    name: 'a 200 with 10 MB is a run that succeeded',
    arrange: ({ functions }) => functions.behave(FUNCTION, { body: 'x'.repeat(10_000_000) }),
    ...SUCCEEDED
  },
  ...[
    { what: 'a byte that no character begins with', body: [0x41, 0xff, 0x41] },
    { what: 'a character cut short', body: [0x41, 0xe2] }
  ].map(({ what, body }) => ({
    name: `a 500 whose body is not UTF-8 still shows its status: ${what}`,
    arrange: ({ functions }: TestProject) => functions.behave(FUNCTION, { status: 500, body: Buffer.from(body) }),
    ...error('HTTP 500\nDETAIL:  not UTF-8\n')
  })),
  {
    name: 'a redirect is followed: to a function that answers 200, the run succeeded',
    arrange({ functions }) {
      functions.behave('target', { respond: (_request, response) => response.end('fine') })
      functions.behave(FUNCTION, redirect('target'))
    },
    ...SUCCEEDED
  },
  {
    name: 'a redirect is followed: to nothing, the run failed',
    arrange: ({ functions }) => functions.behave(FUNCTION, redirect('nowhere')),
    ...error('HTTP 404\n')
  },
  {
    name: 'a redirect without a target is that status',
    arrange: ({ functions }) => functions.behave(FUNCTION, { status: 302, body: '' }),
    ...error('HTTP 302\n')
  },
  {
    name: 'a 401 is a failed run with the body as its detail',
    arrange: (project) => project.fill({ key: 'sb_secret_stale' }),
    ...error('HTTP 401\nDETAIL:  {"error":"Unauthorized"}\nCONTEXT:  ')
  },
  {
    name: 'a refusal by the platform shows its error code',
    arrange: ({ functions }) =>
      functions.behave(FUNCTION, { status: 401, headers: { 'Sb-Error-Code': 'UNAUTHORIZED_INVALID_JWT_FORMAT' } }),
    ...error('HTTP 401 UNAUTHORIZED_INVALID_JWT_FORMAT\n')
  },
  ...[
    { what: 'a legacy key', key: legacyKey(), code: '' },
    { what: 'a secret key', key: secretKey(), code: ' [key]' }
  ].map(({ what, key, code }) => ({
    name: `the key is taken out of an answer that echoes it: ${what}`,
    async arrange(project: TestProject) {
      await project.fill({ key })
      project.functions.behave(FUNCTION, {
        respond(request, response) {
          response.writeHead(500, { 'sb-error-code': request.headers.apikey })
          response.end(`${'x'.repeat(470)} ${request.headers.authorization} and ${request.headers.apikey}`)
        }
      })
    },
    ...error(`HTTP 500${code}\nDETAIL:  ${'x'.repeat(470)} Bearer [key] and [key]\n`),
    check: (_project: TestProject, run: Run) => expect(run.message.includes(key.slice(0, 12))).toBe(false)
  })),
  {
    name: 'no more than 500 characters of a body of 20 MB are kept',
    arrange: ({ functions }) => functions.behave(FUNCTION, { status: 500, body: 'é'.repeat(10_000_000) }),
    ...error(`HTTP 500\nDETAIL:  ${'é'.repeat(500)}\n`)
  }
]

const silences: Outcome[] = [
  {
    name: 'a function that never answers is a failed run that says so',
    arrange: ({ functions }) => functions.behave(FUNCTION, { respond() {} }),
    durations: [0.5, 6],
    ...error('no answer within 0.5 s (the function may still be running)\n')
  },
  {
    name: 'an answer later than the timeout is a failed run that says so',
    arrange: ({ functions }) => functions.behave(FUNCTION, { delay: 1500 }),
    durations: [0.5, 6],
    ...error('no answer within 0.5 s (the function may still be running)\n')
  },
  {
    name: "a refused connection is a failed run with pg_net's reason",
    arrange: (project) => project.fill({ url: 'http://127.0.0.1:1' }),
    ...error("Couldn't connect to server\n")
  },
  {
    name: "a half-closed connection is a failed run with pg_net's reason",
    arrange: ({ functions }) =>
      functions.behave(FUNCTION, {
        respond(_request, response) {
          response.writeHead(200, { 'content-length': '100' })
          response.write('half')
          setTimeout(() => response.destroy(), 50)
        }
      }),
    ...error('Transferred a partial file\n')
  },
  {
    name: "garbage instead of HTTP is a failed run with pg_net's reason",
    arrange: ({ functions }) =>
      functions.behave(FUNCTION, { respond: ({ socket }) => socket.end(Buffer.from([0, 255, 1, 254, 13, 10])) }),
    ...error('')
  },
  {
    name: 'with the worker away the request is withdrawn, and the worker, back again, sends nothing',
    arrange: (project) => project.net.stop(),
    durations: [0.5, 1],
    ...error('not sent within 1 s, request withdrawn\nHINT:  select net.worker_restart()\n'),
    async check(project) {
      project.startNet()
      await sleep(300)
      expect(project.functions.calls).toEqual([])
    }
  },
  {
    name: 'a request that the worker holds is not withdrawn',
    arrange: ({ functions }) => functions.behave(FUNCTION, { delay: 2500 }),
    durations: [10, 2],
    ...error('sent, no response recorded within 2 s\n'),
    check: ({ functions }) =>
      expect.poll(() => functions.calls.map((call) => call.status), { timeout: 8000 }).toEqual([200])
  },
  {
    name: "another caller's slow request in the same batch delays the verdict and does not change it",
    async arrange(project) {
      const slow = http
        .createServer((_request, response) => setTimeout(() => response.end(), 1500))
        .listen(0)
        .unref()
      await project.net.stop()
      await project.rows(`select net.http_post('http://127.0.0.1:${(slow.address() as AddressInfo).port}')`)
      startNetAt(project, 2)
    },
    ...SUCCEEDED,
    check: (_project, { start, end }) => expect(end - start).toBeGreaterThan(900) // the real start_time may be late by a second
  }
]

const unsent: Outcome[] = [
  ['an empty key', { key: '' }, 'service_role_key" is empty'],
  ['a key with a line break at its end', { key: 'sb_secret_x\n' }, 'service_role_key" is malformed'],
  ['a key with CR LF inside', { key: 'sb_secret_x\r\nx-admin: 1' }, 'service_role_key" is malformed'],
  ['a key with a space', { key: 'sb_secret x' }, 'service_role_key" is malformed'],
  ['a key that is not ASCII', { key: 'sb_secret_é' }, 'service_role_key" is malformed'],
  ['an empty URL', { url: '' }, 'project_url" is empty'],
  ['a URL with a path', { url: 'https://ref.supabase.co/functions/v1' }, 'project_url" is malformed'],
  ['a URL with userinfo', { url: 'https://user:pass@ref.supabase.co' }, 'project_url" is malformed'],
  ['a URL with a line break', { url: 'https://ref.supabase.co\n' }, 'project_url" is malformed'],
  ['http to a public host', { url: 'http://ref.supabase.co' }, 'project_url" is malformed'],
  ['a missing key', 'service_role_key', 'service_role_key" is missing'],
  ['a missing URL', 'project_url', 'project_url" is missing']
].map(([what, secrets, problem]) => ({
  name: `${what} is not sent`,
  arrange: (project: TestProject) =>
    typeof secrets === 'string'
      ? project.rows('delete from vault.secrets where name = $1', [secrets])
      : project.fill(secrets),
  ...error(`not called, Vault secret "${problem}\nHINT:  select vault.update_secret(coalesce(`),
  async check(project: TestProject, { message }: Run) {
    expect(message).not.toMatch(/sb_secret|pass/)
    expect(project.functions.calls).toEqual([])
    expect(await project.rows('select id from net.http_request_queue')).toEqual([])
  }
}))

const surroundings: Outcome[] = [
  {
    name: 'repeatable read as the default isolation hides no response',
    arrange: ({ admin, database }) =>
      admin.query(`alter database ${database} set default_transaction_isolation = 'repeatable read'`),
    ...SUCCEEDED,
    check: ({ admin, database }) => admin.query(`alter database ${database} reset default_transaction_isolation`)
  },
  {
    name: 'a statement_timeout that comes first is a failed run, and the call is made once',
    async arrange({ admin, database, functions }) {
      await admin.query(`alter role postgres in database ${database} set statement_timeout = '1s'`)
      functions.behave(FUNCTION, { delay: 2000 })
    },
    status: 'failed',
    message: 'ERROR:  canceling statement due to statement timeout\nCONTEXT:  ',
    async check({ admin, database, functions }) {
      await admin.query(`alter role postgres in database ${database} reset statement_timeout`)
      await expect.poll(() => functions.calls.map((call) => call.status), { timeout: 5000 }).toEqual([200])
    }
  }
]

/** Runs of the project's own command: what a user finds in cron.job_run_details. */
export const OUTCOMES: Outcome[] = [...answers, ...silences, ...unsent, ...surroundings]

/** Runs of other commands: how pg_cron records what PostgreSQL answers. */
export const RECORDS: Outcome[] = [
  { name: 'a query', command: 'select 1', status: 'succeeded', message: '1 row' },
  { name: 'a query with two rows', command: 'select generate_series(1, 2)', status: 'succeeded', message: '2 rows' },
  { name: 'a do block', command: "do 'begin end'", status: 'succeeded', message: 'DO' },
  { name: 'a do block that commits', command: "do 'begin commit; end'", status: 'succeeded', message: 'DO' },
  {
    name: 'an insert',
    command: 'insert into net._http_response default values',
    status: 'succeeded',
    message: 'INSERT 0 1'
  },
  {
    name: 'a do block that raises',
    command: `do $$ begin raise 'broken' using detail = 'how', hint = 'mend'; end $$`,
    status: 'failed',
    message:
      'ERROR:  broken\nDETAIL:  how\nHINT:  mend\nCONTEXT:  PL/pgSQL function inline_code_block line 1 at RAISE\n'
  },
  {
    name: 'a do block with an error in a statement of its own',
    command: `do $$ begin perform 1 / 0; end $$`,
    status: 'failed',
    message:
      'ERROR:  division by zero\nCONTEXT:  SQL statement "SELECT 1 / 0"\nPL/pgSQL function inline_code_block line 1 at PERFORM\n'
  }
]
