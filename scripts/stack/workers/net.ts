/** Stand-in of pg_net's background worker: sends what is committed to net.http_request_queue. */

import type pg from 'pg'
import { Agent, request as httpRequest, interceptors } from 'undici'
import { startWorker, type Worker } from './worker.ts'

interface Request {
  id: string
  method: string
  url: string
  headers: Record<string, string | null> | null
  body: Buffer | null
  timeout_milliseconds: number
}

interface Outcome {
  status?: number
  headers?: Record<string, string>
  content?: Buffer
  timedOut: boolean
  error?: string
}

const reasons: Record<string, string> = {
  ECONNREFUSED: "Couldn't connect to server",
  ENOTFOUND: "Couldn't resolve host name",
  EAI_AGAIN: "Couldn't resolve host name",
  ECONNRESET: 'Failure when receiving data from the peer',
  UND_ERR_SOCKET: 'Server returned nothing (no headers, no data)'
}

// pg_net follows redirects; a 301, 302 or 303 turns the POST into a GET, and another origin is not told Authorization.
const redirecting = new Agent({ pipelining: 0 }).compose(interceptors.redirect({ maxRedirections: 20 }))

/** Sends one request as pg_net does: redirects followed, null and empty headers left out, `timeout_milliseconds` in all. */
async function send(request: Request, stopped: AbortSignal): Promise<Outcome> {
  const began = Date.now()
  let answering = false
  // Not AbortSignal.any: in Node 20 such a signal may be collected as garbage before its time.
  const over = new AbortController()
  const end = () => over.abort()
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    end()
  }, request.timeout_milliseconds)
  stopped.addEventListener('abort', end)
  try {
    const headers = Object.entries(request.headers ?? {}).filter((header): header is [string, string] => !!header[1])
    if (headers.some(([, value]) => /[\r\n]/.test(value)))
      throw new Error('the stand-in of pg_net sends no header with a line break (the real one does)')
    const response = await httpRequest(request.url, {
      dispatcher: redirecting,
      method: request.method as 'POST',
      headers: { 'user-agent': 'pg_net/0.20.4', ...Object.fromEntries(headers) },
      body: request.body,
      signal: over.signal,
      headersTimeout: 0,
      bodyTimeout: 0
    })
    answering = true
    const content = Buffer.from(await response.body.arrayBuffer())
    const end = content.indexOf(0)
    return {
      status: response.statusCode,
      headers: Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)])),
      content: end < 0 ? content : content.subarray(0, end),
      timedOut: false
    }
  } catch (error) {
    const total = Date.now() - began
    if (timedOut)
      return { timedOut: true, error: `Timeout of ${request.timeout_milliseconds} ms reached. Total time: ${total} ms` }
    const { code = '', message = String(error) } = error as { code?: string; message?: string }
    return { timedOut: false, error: answering ? 'Transferred a partial file' : (reasons[code] ?? message) }
  } finally {
    clearTimeout(timer)
    stopped.removeEventListener('abort', end)
  }
}

/** One batch is one transaction, so a response is visible only when the whole batch has ended. */
async function batch(session: pg.Client, stopped: AbortSignal): Promise<void> {
  while (!stopped.aborted) {
    await session.query('begin')
    const taken = await session.query<Request>(`
      delete from net.http_request_queue as queue
      using (select id from net.http_request_queue order by id limit 200) as next
      where queue.id = next.id returning queue.*`)
    const outcomes = await Promise.all(
      taken.rows.map(async (request) => ({ request, ...(await send(request, stopped)) }))
    )
    stopped.throwIfAborted() // killed meanwhile: nothing of the batch is recorded
    for (const { request, status, headers, content, timedOut, error } of outcomes)
      await session.query(
        `insert into net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg)
         values ($1, $2, $3, $4, net._unchecked_text($5), $6, $7)`,
        [request.id, status, headers?.['content-type'], headers, content, timedOut, error]
      )
    await session.query("delete from net._http_response where created < now() - interval '6 hours'")
    await session.query('commit')
    if (taken.rows.length === 0) return
  }
}

/** Starts the worker for one database; `url` logs in as the superuser. */
export const startNetWorker = (url: string): Worker =>
  startWorker({
    url,
    name: 'pg_net 0.20.4',
    needs: 'net.http_request_queue',
    channel: 'pg_net',
    pause: 1000,
    away: 1000,
    turn: batch
  })
