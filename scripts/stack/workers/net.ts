/** Stand-in of pg_net's background worker: sends what is committed to net.http_request_queue. */

import type pg from 'pg'
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
  UND_ERR_SOCKET: 'Transferred a partial file'
}

/** Sends one request as pg_net does: redirects followed, null and empty headers left out, `timeout_milliseconds` in all. */
async function send(request: Request, stopped: AbortSignal): Promise<Outcome> {
  const began = Date.now()
  const timeout = AbortSignal.timeout(request.timeout_milliseconds)
  try {
    const headers = Object.entries(request.headers ?? {}).filter((header): header is [string, string] => !!header[1])
    if (headers.some(([, value]) => /[\r\n]/.test(value)))
      throw new Error('the stand-in of pg_net sends no header with a line break (the real one does)')
    const response = await fetch(request.url, {
      method: request.method,
      headers: { 'user-agent': 'pg_net/0.20.4', connection: 'close', ...Object.fromEntries(headers) },
      body: request.body && new Uint8Array(request.body),
      signal: AbortSignal.any([timeout, stopped])
    })
    const content = Buffer.from(await response.arrayBuffer())
    const end = content.indexOf(0)
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      content: end < 0 ? content : content.subarray(0, end),
      timedOut: false
    }
  } catch (error) {
    const total = Date.now() - began
    if (timeout.aborted)
      return { timedOut: true, error: `Timeout of ${request.timeout_milliseconds} ms reached. Total time: ${total} ms` }
    const cause = error instanceof Error ? (error.cause as { code?: string; message?: string } | undefined) : undefined
    return { timedOut: false, error: reasons[cause?.code ?? ''] ?? cause?.message ?? String(error) }
  }
}

/** One batch is one transaction, so a response is visible only when the whole batch has ended. */
async function batch(session: pg.Client, stopped: AbortSignal): Promise<void> {
  for (;;) {
    await session.query('begin')
    const taken = await session.query<Request>(`
      delete from net.http_request_queue as queue
      using (select id from net.http_request_queue order by id limit 200) as next
      where queue.id = next.id returning queue.*`)
    const outcomes = await Promise.all(taken.rows.map(async (request) => ({ request, ...(await send(request, stopped)) })))
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
