/** Every way a run can end, as data: one table, for stand-ins and real extensions alike. */

import type { IncomingHttpHeaders } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { withDurations, withFields } from '../lib/template.ts'
import type { Behaviour, Call } from './functions.ts'
import { legacyKey, secretKey } from './keys.ts'
import { CRM, occupy, type Run, type TestProject } from './testing.ts'

/** A job with a function and a Vault row of its own, whose run ends in one of the ways below. */
export interface Case {
  project: TestProject
  /** The job, its function and its Vault row have this name. */
  name: string
  behave(behaviour: Behaviour): void
  /** Gives its Vault row another value than the functions' key. */
  fill(key: string): Promise<unknown>
  calls(): Call[]
}

export interface Outcome {
  name: string
  /** Prepares the case: its Vault rows are filled, its function answers 200. */
  arrange?(made: Case): unknown
  /** What it changes holds for the whole database: it runs while no other case does. */
  alone?: true
  /** Seconds that the function may take, and until the run gives up, where not the shipped ones. */
  durations?: [number, number]
  /** Another command than the template's. */
  command?: string
  status: 'succeeded' | 'failed'
  /** How return_message begins, as libpq lays it out; `%` is the function's name. */
  message: string
  /** What else is to be seen once the run has ended. */
  check?(made: Case, run: Run): unknown
}

/** Schedules the job of a case, which does not run by itself. Its function takes the functions' key. */
export async function makeCase(project: TestProject, outcome: Outcome, name: string): Promise<Case> {
  const { functions, rows } = project
  const made: Case = {
    project,
    name,
    behave: (behaviour) => functions.behave(name, behaviour),
    fill: (key) =>
      rows(
        `select vault.update_secret(coalesce((select id from vault.secrets where name = $1), vault.create_secret('', $1)), $2)`,
        [name, key]
      ),
    calls: () => functions.calls.filter((call) => call.function === name)
  }
  functions.behave(name)
  await made.fill(functions.key)
  const [job] = await rows('select command from cron.job where jobname = $1', [CRM])
  const command = withFields(job?.command ?? '', { function: name, secret: name })
  const [answerWithin, giveUpAfter] = outcome.durations ?? [50, 110]
  await rows(`select cron.schedule($1, '0 0 1 1 *', $2)`, [
    name,
    outcome.command ?? (outcome.durations ? withDurations(command, answerWithin, giveUpAfter) : command)
  ])
  await outcome.arrange?.(made)
  return made
}

const error = (text: string) => ({ status: 'failed' as const, message: `ERROR:  %: ${text}` })
const SUCCEEDED = { status: 'succeeded' as const, message: 'DO' }
const redirect = (path: string) => ({ status: 302, body: '', headers: { location: `/functions/v1/${path}` } })

const answers: Outcome[] = [
  {
    name: 'a 200 is a run that succeeded',
    ...SUCCEEDED,
    check: ({ calls, name }) =>
      expect(calls()).toMatchObject([{ function: name, method: 'POST', body: '{"mode": "incremental"}', status: 200 }])
  },
  {
    name: 'a 204 is a run that succeeded',
    arrange: ({ behave }) => behave({ status: 204, body: '' }),
    ...SUCCEEDED
  },
  {
    name: 'a 200 whose body is not UTF-8 is a run that succeeded',
    arrange: ({ behave }) => behave({ body: Buffer.from([0xff, 0xfe, 0x41]) }),
    ...SUCCEEDED
  },
  {
    name: 'a 200 with 10 MB is a run that succeeded',
    arrange: ({ behave }) => behave({ body: 'x'.repeat(10_000_000) }),
    ...SUCCEEDED
  },
  ...[
    { what: 'a byte that no character begins with', body: [0x41, 0xff, 0x41] },
    { what: 'a character cut short', body: [0x41, 0xe2] }
  ].map(({ what, body }) => ({
    name: `a 500 whose body is not UTF-8 still shows its status: ${what}`,
    arrange: ({ behave }: Case) => behave({ status: 500, body: Buffer.from(body) }),
    ...error('HTTP 500\nDETAIL:  not UTF-8\n')
  })),
  {
    name: 'a redirect is followed: to a function that answers 200, the run succeeded',
    arrange({ behave, project }) {
      project.functions.behave('target', { respond: (_request, response) => response.end('fine') })
      behave(redirect('target'))
    },
    ...SUCCEEDED
  },
  {
    name: 'a redirect is followed: to nothing, the run failed',
    arrange: ({ behave }) => behave(redirect('nowhere')),
    ...error('HTTP 404\n')
  },
  {
    name: 'a redirect without a target is that status',
    arrange: ({ behave }) => behave({ status: 302, body: '' }),
    ...error('HTTP 302\n')
  },
  {
    name: 'a 401 is a failed run with the body as its detail',
    arrange: ({ fill }) => fill('sb_secret_stale'),
    ...error('HTTP 401\nDETAIL:  {"error":"Unauthorized"}\nCONTEXT:  ')
  },
  {
    name: 'a refusal by the platform shows its error code',
    arrange: ({ behave }) => behave({ status: 401, headers: { 'Sb-Error-Code': 'UNAUTHORIZED_INVALID_JWT_FORMAT' } }),
    ...error('HTTP 401 UNAUTHORIZED_INVALID_JWT_FORMAT\n')
  },
  ...[
    { what: 'a legacy key', key: legacyKey(), code: '' },
    { what: 'a secret key', key: secretKey(), code: ' [key]' }
  ].map(({ what, key, code }) => ({
    name: `the key is taken out of an answer that echoes it: ${what}`,
    async arrange({ fill, behave }: Case) {
      await fill(key)
      behave({
        respond(request, response) {
          response.writeHead(500, { 'sb-error-code': request.headers.apikey })
          response.end(`${'x'.repeat(470)} ${request.headers.authorization} and ${request.headers.apikey}`)
        }
      })
    },
    ...error(`HTTP 500${code}\nDETAIL:  ${'x'.repeat(470)} Bearer [key] and [key]\n`),
    check: (_made: Case, run: Run) => expect(run.message.includes(key.slice(0, 12))).toBe(false)
  })),
  {
    name: 'no more than 500 characters of a body of 20 MB are kept',
    arrange: ({ behave }) => behave({ status: 500, body: 'é'.repeat(10_000_000) }),
    ...error(`HTTP 500\nDETAIL:  ${'é'.repeat(500)}\n`)
  }
]

const silences: Outcome[] = [
  {
    name: 'a function that never answers is a failed run that says so',
    arrange: ({ behave }) => behave({ respond() {} }),
    durations: [0.5, 20],
    ...error('no answer within 0.5 s (the function may still be running)\n')
  },
  {
    name: 'an answer later than the timeout is a failed run that says so',
    arrange: ({ behave }) => behave({ delay: 1500 }),
    durations: [0.5, 20],
    ...error('no answer within 0.5 s (the function may still be running)\n')
  },
  {
    name: "a refused connection is a failed run with pg_net's reason",
    alone: true,
    arrange: ({ project }) => project.fill({ url: 'http://127.0.0.1:1' }),
    status: 'failed',
    message: 'ERROR:  %: Could',
    check: (_made, { message }) => expect(message).toMatch(/^ERROR: {2}[\w-]+: Could(n't| not) connect to server\n/)
  },
  {
    name: "a half-closed connection is a failed run with pg_net's reason",
    arrange: ({ behave }) =>
      behave({
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
    arrange: ({ behave }) => behave({ respond: ({ socket }) => socket.end(Buffer.from([0, 255, 1, 254, 13, 10])) }),
    ...error('')
  },
  {
    name: 'a request that the worker does not take is withdrawn, and never sent',
    alone: true,
    arrange: async ({ project, name }) => {
      const release = await occupy(project)
      const queued = async () =>
        (await project.rows(`select from net.http_request_queue where url like '%/' || $1`, [name])).length > 0
      void (async () => {
        for (const expected of [true, false]) while ((await queued()) !== expected) await sleep(20)
        release()
      })()
    },
    durations: [0.5, 1],
    ...error('not sent within 1 s, request withdrawn\nHINT:  select net.worker_restart()\n'),
    async check({ calls, project }) {
      await workerIsFree(project)
      expect(calls()).toEqual([])
    }
  },
  {
    name: 'a request that the worker holds is not withdrawn',
    alone: true,
    arrange: ({ behave }) => behave({ delay: 4000 }),
    durations: [10, 3],
    ...error('sent, no response recorded within 3 s\n'),
    check: ({ calls }) => expect.poll(() => calls().map((call) => call.status), { timeout: 8000 }).toEqual([200])
  },
  {
    name: "another caller's slow request in the same batch delays the verdict and does not change it",
    alone: true,
    async arrange({ project }) {
      const release = await occupy(project)
      const { functions, rows } = project
      functions.behave('slow', { respond: (_request, response) => setTimeout(() => response.end(), 1500) })
      await rows('select net.http_post($1)', [`${functions.url}/functions/v1/slow`])
      void (async () => {
        while ((await rows('select from net.http_request_queue')).length < 2) await sleep(20)
        release()
      })()
    },
    ...SUCCEEDED,
    check: (_made, { start, end }) => expect(end - start).toBeGreaterThan(900) // the real start_time may be late by a second
  }
]

/** Waits until pg_net's worker has sent a request of somebody else. */
async function workerIsFree({ functions, rows }: TestProject) {
  const [sent] = await rows('select net.http_post($1) as id', [`${functions.url}/functions/v1/target`])
  while (!(await rows('select from net._http_response where id = $1', [sent?.id])).length) await sleep(20)
}

const refused = (problem: string) =>
  error(`not called, Vault secret "${problem}\nHINT:  select vault.update_secret(coalesce(`)
async function nothingSent({ project, name, calls }: Case, { message }: Run) {
  expect(message).not.toMatch(/sb_secret|pass/)
  expect(calls()).toEqual([])
  expect(await project.rows(`select id from net.http_request_queue where url like '%/' || $1`, [name])).toEqual([])
}

const badKeys: Outcome[] = [
  ['an empty key', '', 'empty'],
  ['a key with a line break at its end', 'sb_secret_x\n', 'malformed'],
  ['a key with CR LF inside', 'sb_secret_x\r\nx-admin: 1', 'malformed'],
  ['a key with a space', 'sb_secret x', 'malformed'],
  ['a key that is not ASCII', 'sb_secret_é', 'malformed'],
  ['a missing key', undefined, 'missing']
].map(([what = '', key, problem]) => ({
  name: `${what} is not sent`,
  arrange: ({ project, name, fill }: Case) =>
    key === undefined ? project.rows('delete from vault.secrets where name = $1', [name]) : fill(key),
  status: 'failed',
  message: `ERROR:  %: not called, Vault secret "%" is ${problem}\nHINT:  select vault.update_secret(coalesce(`,
  check: nothingSent
}))

const badUrls: Outcome[] = [
  ['an empty URL', '', 'empty'],
  ['a URL with a path', 'https://ref.supabase.co/functions/v1', 'malformed'],
  ['a URL with userinfo', 'https://user:pass@ref.supabase.co', 'malformed'],
  ['a URL with a line break', 'https://ref.supabase.co\n', 'malformed'],
  ['http to a public host', 'http://ref.supabase.co', 'malformed'],
  ['http to a number that is an address', 'http://2130706433', 'malformed'],
  ['a missing URL', undefined, 'missing']
].map(([what = '', url, problem]) => ({
  name: `${what} is not called`,
  alone: true,
  arrange: ({ project }: Case) =>
    url === undefined ? project.rows(`delete from vault.secrets where name = 'project_url'`) : project.fill({ url }),
  ...refused(`project_url" is ${problem}`),
  check: nothingSent
}))

/** Lookalikes in `public` that fit the template's arguments better than PostgreSQL's own functions and operators. */
const LOOKALIKES = [
  ...['jsonb_build_object(text, text)', 'jsonb_build_object(text, text, text, text)', 'format(text, text)'],
  ...['format(text, numeric)', 'concat_ws(text, int, text)', 'pg_sleep(numeric)', 'convert_to(text, text)'],
  'convert_from(bytea, text)'
]
const OPERATORS: [name: string, left: string, right: string][] = [
  ['->>', 'jsonb', 'jsonb'],
  ['->', 'jsonb', 'jsonb'],
  ['>', 'numeric', 'int'],
  ['>=', 'numeric', 'int'],
  ['<=', 'numeric', 'int'],
  ['*', 'numeric', 'int'],
  ['+', 'numeric', 'int']
]
const lookalikes = {
  create: [
    ...LOOKALIKES.map(
      (name) =>
        `create function public.${name} returns text language plpgsql as $$ begin raise 'hijacked: ${name}'; end $$;`
    ),
    ...OPERATORS.map(
      ([name, left, right], at) =>
        `create function public.lookalike_${at}(${left}, ${right}) returns text language plpgsql as $$ begin raise 'hijacked: ${name}'; end $$;
         create operator public.${name} (leftarg = ${left}, rightarg = ${right}, function = public.lookalike_${at});`
    )
  ].join('\n'),
  drop: [
    ...LOOKALIKES.map((name) => `drop function public.${name};`),
    ...OPERATORS.map(([, left, right], at) => `drop function public.lookalike_${at}(${left}, ${right}) cascade;`)
  ].join('\n')
}

const hijacks: Outcome[] = [
  { what: 'a run that waits and succeeds', behaviour: { delay: 500 }, ...SUCCEEDED },
  { what: 'a run that is refused', behaviour: { status: 401, body: 'no' }, ...error('HTTP 401\nDETAIL:  no\n') },
  {
    what: 'a run that gets no answer',
    behaviour: { delay: 1500 },
    durations: [0.5, 20],
    ...error('no answer within 0.5 s')
  }
].map(({ what, behaviour, ...ends }) => ({
  name: `nothing that somebody made in public is called: ${what}`,
  alone: true,
  async arrange({ project, behave }) {
    behave(behaviour)
    await project.rows(lookalikes.create)
  },
  ...(ends as Pick<Outcome, 'status' | 'message' | 'durations'>),
  check: ({ project }) => project.rows(lookalikes.drop)
}))

const surroundings: Outcome[] = [
  {
    name: 'repeatable read as the default isolation hides no response',
    alone: true,
    arrange: ({ project: { admin, database } }) =>
      admin.query(`alter database ${database} set default_transaction_isolation = 'repeatable read'`),
    ...SUCCEEDED,
    check: ({ project: { admin, database } }) =>
      admin.query(`alter database ${database} reset default_transaction_isolation`)
  },
  {
    name: 'a statement_timeout that comes first is a failed run, and the call is made once',
    alone: true,
    async arrange({ project: { admin, database }, behave }) {
      await admin.query(`alter role postgres in database ${database} set statement_timeout = '1s'`)
      behave({ delay: 2000 })
    },
    status: 'failed',
    message: 'ERROR:  canceling statement due to statement timeout\nCONTEXT:  ',
    async check({ project: { admin, database }, calls }) {
      await admin.query(`alter role postgres in database ${database} reset statement_timeout`)
      await expect.poll(() => calls().map((call) => call.status), { timeout: 5000 }).toEqual([200])
    }
  }
]

/** How the key is sent, by the job's field `header`. */
const headers: Outcome[] = [
  { header: undefined, sent: ['authorization', 'apikey'] },
  { header: 'bearer', sent: ['authorization'] },
  { header: 'apikey', sent: ['apikey'] },
  { header: 'x-cron-secret', sent: ['x-cron-secret'] }
].map(({ header, sent }) => {
  let seen: IncomingHttpHeaders = {}
  return {
    name: `with the header ${header} the key is in ${sent.join(' and ')}, and in no other`,
    async arrange({ project, name, behave }) {
      behave({
        respond(request, response) {
          seen = request.headers
          response.end()
        }
      })
      if (!header) return
      const [job] = await project.rows('select jobid, command from cron.job where jobname = $1', [name])
      const command = withFields(job?.command ?? '', { header })
      await project.rows('select cron.alter_job(job_id := $1, command := $2)', [job?.jobid, command])
    },
    ...SUCCEEDED,
    check({ project }) {
      const key = project.functions.key
      const found = Object.entries(seen).filter(([, value]) => String(value).includes(key))
      // Not toEqual on the values: a failing expectation must not print a key.
      expect(found.map(([name]) => name).sort()).toEqual(sent.toSorted())
      for (const [name, value] of found) expect(value === (name === 'authorization' ? `Bearer ${key}` : key)).toBe(true)
      expect(seen['content-type']).toBe('application/json')
    }
  }
})

/** Runs of other commands: how pg_cron records what PostgreSQL answers. */
const records: Outcome[] = [
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

export const OUTCOMES: Outcome[] = [
  ...[answers, headers, silences, badKeys, badUrls, hijacks, surroundings, records].flat()
]
