/** The stand-in of pg_net sends as the real one was measured to. */

import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type TestProject, testProject } from '../testing.ts'

interface Seen {
  method: string
  headers: http.IncomingHttpHeaders
  body: string
}

/** A server that keeps what it is sent and answers as `respond` says. */
async function listen(respond: (request: http.IncomingMessage, response: http.ServerResponse) => void) {
  const seen: Seen[] = []
  const server = http.createServer(async (request, response) => {
    const chunks = await request.toArray()
    seen.push({ method: request.method ?? '', headers: request.headers, body: Buffer.concat(chunks).toString() })
    respond(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  afterAll(() => server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

let project: TestProject
let echo: Awaited<ReturnType<typeof listen>>
beforeAll(async () => {
  project = await testProject()
  echo = await listen((_request, response) => response.end('{}'))
})
beforeEach(() => {
  echo.seen.length = 0
})

/** Posts, waits for the response's row, and returns it. */
async function post(url: string, headers: string | null = '{}', timeout = 5000) {
  const [sent] = await project.rows<{ id: string }>(
    'select net.http_post(url := $1, headers := $2, timeout_milliseconds := $3) as id',
    [url, headers, timeout]
  )
  for (;;) {
    const [response] = await project.rows<Record<string, unknown>>('select * from net._http_response where id = $1', [
      sent?.id
    ])
    if (response) return response
    await sleep(10)
  }
}

test('headers and body go out as they were queued', async () => {
  await post(echo.url, '{"Authorization": "Bearer k", "apikey": "k"}')
  expect(echo.seen).toMatchObject([
    {
      method: 'POST',
      body: '{}',
      headers: { authorization: 'Bearer k', apikey: 'k', 'content-type': 'application/json' }
    }
  ])
})

test('a null or empty header value is left out, and the request is sent all the same', async () => {
  await post(echo.url, '{"Authorization": null, "apikey": ""}')
  expect(echo.seen[0]?.headers).not.toHaveProperty('authorization')
  expect(echo.seen[0]?.headers).not.toHaveProperty('apikey')
})

test('without headers the request is sent without any', async () => {
  await post(echo.url, null)
  expect(echo.seen[0]?.headers).not.toHaveProperty('content-type')
})

test('only what is committed is sent', async () => {
  await project.rows('begin')
  await project.rows('select net.http_post(url := $1)', [echo.url])
  await sleep(100)
  expect(echo.seen).toEqual([])
  await project.rows('rollback')
  await post(echo.url)
  expect(echo.seen).toHaveLength(1)
})

test('a response is visible only when its whole batch has ended', async () => {
  const slow = await listen((_request, response) => setTimeout(() => response.end(), 500))
  const began = Date.now()
  await project.rows('begin')
  await project.rows('select net.http_post(url := $1)', [slow.url])
  const [fast] = await project.rows('select net.http_post(url := $1) as id', [echo.url])
  await project.rows('commit')
  while (!(await project.rows('select 1 from net._http_response where id = $1', [fast?.id])).length) await sleep(10)
  expect(echo.seen).toHaveLength(1)
  expect(Date.now() - began).toBeGreaterThan(490)
})

test('a 302 turns the POST into a GET; another origin is not told Authorization, but every other header', async () => {
  const first = await listen((_request, response) => response.writeHead(302, { location: `${echo.url}/there` }).end())
  expect(await post(first.url, '{"Authorization": "Bearer k", "apikey": "k"}')).toMatchObject({ status_code: 200 })
  expect(echo.seen).toMatchObject([{ method: 'GET', body: '', headers: { apikey: 'k' } }])
  expect(echo.seen[0]?.headers).not.toHaveProperty('authorization')
})

test('a timeout has no status', async () => {
  const never = await listen(() => {})
  expect(await post(never.url, '{}', 200)).toMatchObject({
    status_code: null,
    timed_out: true,
    error_msg: expect.stringMatching(/^Timeout of 200 ms reached\. Total time: \d+/)
  })
})

test('a refused connection has no status', async () => {
  expect(await post('http://127.0.0.1:1')).toMatchObject({
    status_code: null,
    timed_out: false,
    error_msg: "Couldn't connect to server"
  })
})

test('a body is stored as it is, up to a NUL byte', async () => {
  const bytes = await listen((_request, response) => response.end(Buffer.from([0x41, 0xe2, 0x00, 0x42])))
  const { id } = await post(bytes.url)
  expect(await project.rows('select textsend(content) as content from net._http_response where id = $1', [id])).toEqual(
    [{ content: Buffer.from([0x41, 0xe2]) }]
  )
  await expect(
    project.rows('select left(content, 5) from net._http_response where id = $1', [id])
  ).rejects.toMatchObject({
    code: '22021'
  })
})

test('a header with a line break is refused, since the stand-in does not send it', async () => {
  expect((await post(echo.url, '{"apikey": "k\\r\\nx: y"}')).error_msg).toMatch(/stand-in of pg_net/)
})

test('worker_restart brings a new worker, visible by its application_name', async () => {
  const workers = () =>
    project.rows(
      `select pid from pg_stat_activity where application_name = 'pg_net 0.20.4' and datname = current_database()`
    )
  const before = await workers()
  expect(before).toHaveLength(1)
  await project.rows('select net.worker_restart()')
  await expect.poll(async () => (await workers())[0]?.pid ?? before[0]?.pid, { timeout: 5000 }).not.toBe(before[0]?.pid)
  await post(echo.url)
})

test.each(['http_get', 'http_delete'])('%s is not there, and says so', async (name) => {
  await expect(project.rows(`select net.${name}('http://127.0.0.1')`)).rejects.toThrow(/stand-in of pg_net has no/)
})
