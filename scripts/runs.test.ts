/** The outcome of a run, as cron.job_run_details has it, for every way a call can end. */

import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { legacyKey, secretKey } from './stack/keys.ts'
import { CRM, shorten, type TestProject, testProject } from './stack/testing.ts'

let project: TestProject
beforeAll(async () => {
  project = await testProject()
})
beforeEach(async () => {
  project.functions.behave('odoo-crm-sync')
  project.functions.calls.length = 0
  await project.fill()
  await shorten(project, CRM, 50, 110)
})

const outcome = async () => {
  const { status, first } = await project.run(CRM)
  return `${status}: ${first}`
}

describe('an answer', () => {
  test('a 200 is a run that succeeded', async () => {
    expect(await outcome()).toBe('succeeded: DO')
    expect(project.functions.calls).toMatchObject([
      { function: 'odoo-crm-sync', method: 'POST', body: '{"mode": "incremental"}', status: 200 }
    ])
  })

  test('a 204 is a run that succeeded', async () => {
    project.functions.behave('odoo-crm-sync', { status: 204, body: '' })
    expect(await outcome()).toBe('succeeded: DO')
  })

  test('a 200 whose body is not UTF-8 is a run that succeeded', async () => {
    project.functions.behave('odoo-crm-sync', { body: Buffer.from([0xff, 0xfe, 0x41]) })
    expect(await outcome()).toBe('succeeded: DO')
  })

  test.each([
    ['a byte that no character begins with', [0x41, 0xff, 0x41]],
    ['a character cut short', [0x41, 0xe2]]
  ])('a 500 whose body is not UTF-8 still shows its status: %s', async (_name, body) => {
    project.functions.behave('odoo-crm-sync', { status: 500, body: Buffer.from(body) })
    const { message } = await project.run(CRM)
    expect(message).toMatch(/^ERROR: {2}odoo-crm-sync: HTTP 500\nDETAIL: {2}not UTF-8\n/)
  })

  test('a redirect is followed, and the status of its target decides', async () => {
    const to = (path: string) => ({ status: 302, body: '', headers: { location: `/functions/v1/${path}` } })
    project.functions.behave('target', { respond: (_request, response) => response.end('fine') })
    project.functions.behave('odoo-crm-sync', to('target'))
    expect(await outcome()).toBe('succeeded: DO')
    project.functions.behave('odoo-crm-sync', to('nowhere'))
    expect(await outcome()).toBe('failed: ERROR:  odoo-crm-sync: HTTP 404')
  })

  test('a redirect to nowhere is that status', async () => {
    project.functions.behave('odoo-crm-sync', { status: 302, body: '' })
    expect(await outcome()).toBe('failed: ERROR:  odoo-crm-sync: HTTP 302')
  })

  test('a 401 is a failed run with the body as its detail', async () => {
    await project.fill({ key: 'sb_secret_stale' })
    const { status, message } = await project.run(CRM)
    expect(status).toBe('failed')
    expect(message).toMatch(/^ERROR: {2}odoo-crm-sync: HTTP 401\nDETAIL: {2}{"error":"Unauthorized"}\n/)
  })

  test('a refusal by the platform shows its error code', async () => {
    const refusal = { status: 401, headers: { 'Sb-Error-Code': 'UNAUTHORIZED_INVALID_JWT_FORMAT' } }
    project.functions.behave('odoo-crm-sync', refusal)
    expect(await outcome()).toBe('failed: ERROR:  odoo-crm-sync: HTTP 401 UNAUTHORIZED_INVALID_JWT_FORMAT')
  })

  test.each([
    ['a legacy key', legacyKey(), ''],
    ['a secret key', secretKey(), ' \\[key\\]']
  ])('the key is taken out of an answer that echoes it: %s', async (_name, key, code) => {
    await project.fill({ key })
    project.functions.behave('odoo-crm-sync', {
      respond(request, response) {
        response.writeHead(500, { 'sb-error-code': request.headers.apikey })
        response.end(`${'x'.repeat(470)} ${request.headers.authorization} and ${request.headers.apikey}`)
      }
    })
    const { message } = await project.run(CRM)
    const body = `x{470} Bearer \\[key\\] and \\[key\\]`
    expect(message).toMatch(new RegExp(`^ERROR: {2}odoo-crm-sync: HTTP 500${code}\nDETAIL: {2}${body}\n`))
    expect(message).not.toContain(key.slice(0, 12))
  })

  test('no more than 500 characters of a body are kept', async () => {
    project.functions.behave('odoo-crm-sync', { status: 500, body: 'é'.repeat(10_000_000) })
    const { message } = await project.run(CRM)
    expect(message).toContain(`HTTP 500\nDETAIL:  ${'é'.repeat(500)}\n`)
  })
})

describe('no answer', () => {
  test('an answer later than the timeout is a failed run that says so', async () => {
    project.functions.behave('odoo-crm-sync', { delay: 3000 })
    await shorten(project, CRM, 0.5, 6)
    expect(await outcome()).toBe(
      'failed: ERROR:  odoo-crm-sync: no answer within 0.5 s (the function may still be running)'
    )
  })

  test("a refused connection is a failed run with pg_net's reason", async () => {
    await project.fill({ url: 'http://127.0.0.1:1' })
    expect(await outcome()).toMatch(/^failed: ERROR: {2}odoo-crm-sync: \w.*connect/i)
  })

  test("a half-closed connection is a failed run with pg_net's reason", async () => {
    project.functions.behave('odoo-crm-sync', {
      respond(_request, response) {
        response.writeHead(200, { 'content-length': '100' })
        response.write('half')
        setTimeout(() => response.destroy(), 50)
      }
    })
    expect(await outcome()).toBe('failed: ERROR:  odoo-crm-sync: Transferred a partial file')
  })

  test('with the worker stopped the request is withdrawn, and the worker, started again, sends nothing', async () => {
    await project.net.stop()
    await shorten(project, CRM, 0.5, 1)
    try {
      const { message } = await project.run(CRM)
      expect(message).toMatch(/^ERROR: {2}odoo-crm-sync: not sent within 1 s, request withdrawn\n/)
      expect(message).toContain('HINT:  select net.worker_restart()')
    } finally {
      project.startNet()
    }
    await sleep(300)
    expect(project.functions.calls).toEqual([])
  })

  test('a request that the worker holds is not withdrawn', async () => {
    project.functions.behave('odoo-crm-sync', { delay: 1500 })
    await shorten(project, CRM, 10, 0.8)
    expect(await outcome()).toBe('failed: ERROR:  odoo-crm-sync: sent, no response recorded within 0.8 s')
    await expect.poll(() => project.functions.calls.length).toBe(1)
  })

  test("another caller's slow request in the same batch delays the verdict and does not change it", async () => {
    const server = http.createServer((_request, response) => setTimeout(() => response.end(), 1500)).listen(0)
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await project.net.stop()
    await project.rows('select net.http_post(url := $1)', [url])
    setTimeout(() => project.startNet(), 300)
    const { status, start, end } = await project.run(CRM)
    server.close()
    expect(status).toBe('succeeded')
    expect(end - start).toBeGreaterThan(1400)
  })
})

describe('a secret that cannot be right is not sent', () => {
  const cases: [string, { key?: string; url?: string }, string][] = [
    ['an empty key', { key: '' }, 'service_role_key" is empty'],
    ['a key with a line break at its end', { key: 'sb_secret_x\n' }, 'service_role_key" is malformed'],
    ['a key with CR LF inside', { key: 'sb_secret_x\r\nx-admin: 1' }, 'service_role_key" is malformed'],
    ['a key with a space', { key: 'sb_secret x' }, 'service_role_key" is malformed'],
    ['a key that is not ASCII', { key: 'sb_secret_é' }, 'service_role_key" is malformed'],
    ['an empty URL', { url: '' }, 'project_url" is empty'],
    ['a URL with a path', { url: 'https://ref.supabase.co/functions/v1' }, 'project_url" is malformed'],
    ['a URL with userinfo', { url: 'https://user:pass@ref.supabase.co' }, 'project_url" is malformed'],
    ['a URL with a line break', { url: 'https://ref.supabase.co\n' }, 'project_url" is malformed'],
    ['http to a public host', { url: 'http://ref.supabase.co' }, 'project_url" is malformed']
  ]
  test.each(cases)('%s', async (_name, secrets, problem) => {
    await project.fill(secrets)
    const { status, first, message } = await project.run(CRM)
    expect(`${status}: ${first}`).toBe(`failed: ERROR:  odoo-crm-sync: not called, Vault secret "${problem}`)
    expect(message).not.toContain('sb_secret')
    expect(message).not.toContain('pass')
    expect(project.functions.calls).toEqual([])
    expect(await project.rows('select id from net.http_request_queue')).toEqual([])
  })

  test.each(['service_role_key', 'project_url'])(
    'a missing %s; the HINT is the statement that mends it',
    async (name) => {
      await project.rows('delete from vault.secrets where name = $1', [name])
      const { first, message } = await project.run(CRM)
      expect(first).toBe(`ERROR:  odoo-crm-sync: not called, Vault secret "${name}" is missing`)
      const value = name === 'project_url' ? project.functions.url : project.functions.key
      await project.rows(/HINT: {2}(.*)/.exec(message)?.[1]?.replace('<value>', value) ?? '')
      expect(await outcome()).toBe('succeeded: DO')
    }
  )
})

describe('how it waits', () => {
  test('repeatable read as the default isolation hides no response', async () => {
    await project.admin.query(
      `alter database ${project.database} set default_transaction_isolation = 'repeatable read'`
    )
    expect(await outcome()).toBe('succeeded: DO')
    await project.admin.query(`alter database ${project.database} reset default_transaction_isolation`)
  })

  test.each([
    ['within 150 ms of the response for a fast call', 200, 150],
    ['no more than 5 % late (and 100 ms) for a long one', 4000, 300]
  ])('the verdict comes %s', async (_name, delay, late) => {
    project.functions.behave('odoo-crm-sync', { delay })
    const run = project.run(CRM)
    let visible = 0
    while (!visible) {
      const found = await project.rows(
        "select 1 from net._http_response where created > now() - interval '5 s' and id = (select max(id) from net._http_response)"
      )
      if (found.length && project.functions.calls[0]?.status) visible = Date.now()
      await sleep(5)
    }
    expect((await run).end - visible).toBeLessThan(late)
  })

  test('a poll reads the index: under 1 ms with 100,000 responses', async () => {
    await project.rows(`insert into net._http_response (id, status_code, created)
      select -n, 200, now() - n * interval '200 ms' from generate_series(1, 100000) as n`)
    const [job] = await project.rows('select command from cron.job where jobname = $1', [CRM])
    const poll = /select \* into answer (from net\._http_response[^;]*);/.exec(job?.command ?? '')?.[1]
    await project.rows(
      `prepare poll (bigint, timestamptz) as select * ${poll?.replace('request', '$1').replace('posted', '$2')}`
    )
    const [plan] = await project.rows<{ 'QUERY PLAN': [{ 'Execution Time': number }] }>(
      'explain (analyze, format json) execute poll (1, now())'
    )
    expect(plan?.['QUERY PLAN'][0]['Execution Time']).toBeLessThan(1)
    await project.rows('delete from net._http_response')
  })
})
