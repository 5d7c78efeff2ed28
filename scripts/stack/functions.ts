/**
 * The two edge functions, and whatever else a test asks for: an HTTP server that compares the bearer key with its own,
 * as the real functions compare it with their SUPABASE_SERVICE_ROLE_KEY. A stand-in: no Deno, no gateway.
 */

import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, problem } from '../lib/keys.ts'

/** How a function answers a call with the right key. Milliseconds; a `respond` of one's own replaces all of it. */
export interface Behaviour {
  status?: number
  delay?: number
  body?: string | Buffer
  headers?: Record<string, string>
  respond?: (request: http.IncomingMessage, response: http.ServerResponse) => void
}

/** A call as it arrived. `key` is named by its kind and fingerprint, never shown. */
export interface Call {
  function: string
  method: string
  key: string
  body: string
  status: number
}

export interface EdgeFunctions {
  /** What jobs call as the project's URL. */
  url: string
  /** The one key the functions take. */
  key: string
  /** Every call so far, oldest first. */
  calls: Call[]
  /** How a function answers from now on; without a behaviour, as it normally does. */
  behave(name: string, behaviour?: Behaviour): void
  /** Makes a function answer its next calls only when `release` is called; `started` resolves when one has arrived. */
  hold(name: string): { started: Promise<void>; release: () => void }
  stop(): Promise<void>
}

const FUNCTIONS = ['odoo-crm-sync', 'odoo-chatter-sync']
const PREFIX = '/functions/v1/'

/**
 * Starts the functions on a free port. They take `key` until they are given another (see `configure`).
 * @param host this machine's name for the database that calls them; with another than 127.0.0.1 they listen on every address
 */
export async function startEdgeFunctions(key: string, host = '127.0.0.1'): Promise<EdgeFunctions> {
  const behaviours = new Map<string, Behaviour>(FUNCTIONS.map((name) => [name, {}]))
  const functions: EdgeFunctions = { url: '', key, calls: [], behave, hold, stop }

  function behave(name: string, behaviour: Behaviour = {}) {
    behaviours.set(name, behaviour)
  }

  function hold(name: string) {
    let release = () => {}
    const started = new Promise<void>((arrived) => {
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      behave(name, {
        respond(_request, response) {
          arrived()
          released.then(() => {
            behave(name)
            response.end('{}')
          })
        }
      })
    })
    return { started, release: () => release() }
  }

  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => answer(request, response, Buffer.concat(chunks).toString()))
  })

  function answer(request: http.IncomingMessage, response: http.ServerResponse, body: string) {
    const send = (status: number, content: object | string | Buffer, headers: Record<string, string> = {}) => {
      const json = typeof content === 'object' && !Buffer.isBuffer(content)
      response.writeHead(status, json ? { 'content-type': 'application/json', ...headers } : headers)
      response.end(json ? JSON.stringify(content) : content)
    }
    const path = request.url ?? '/'
    if (path === '/stand-in') return configure(body, send)

    const name = path.startsWith(PREFIX) ? path.slice(PREFIX.length) : ''
    const behaviour = behaviours.get(name)
    const bearer = request.headers.authorization?.replace(/^Bearer /, '') ?? ''
    const call: Call = {
      function: name,
      method: request.method ?? '',
      key: bearer && describe(bearer),
      body,
      status: 0
    }
    functions.calls.push(call)
    response.once('finish', () => {
      call.status = response.statusCode
    })
    if (!behaviour) return send(404, { code: 'NOT_FOUND', message: 'Requested function was not found' })
    if (behaviour.respond) return behaviour.respond(request, response)
    if (bearer !== functions.key) return send(401, { error: 'Unauthorized' })
    const { status = 200, delay = 0, headers } = behaviour
    setTimeout(
      () => send(status, behaviour.body ?? (status < 300 ? { ok: true } : { error: 'failed' }), headers),
      delay
    )
  }

  /**
   * `POST /stand-in`, for a shell beside the stack:
   * {"key": "…"} to take a new key, {"function": "odoo-crm-sync", "status": 500, "delay": 2000} to fail or be slow.
   */
  function configure(body: string, send: (status: number, content: object) => void) {
    try {
      const wish = JSON.parse(body)
      if (typeof wish.key === 'string' && !problem(wish.key)) functions.key = wish.key
      else if (typeof wish.function === 'string') behave(wish.function, { status: wish.status, delay: wish.delay })
      else throw new Error()
      send(200, { ok: true })
    } catch {
      send(400, { error: 'say {"key": "…"} or {"function": "odoo-crm-sync", "status": 500, "delay": 2000}' })
    }
  }

  async function stop() {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }

  await new Promise<void>((resolve) => server.listen(0, host === '127.0.0.1' ? host : '0.0.0.0', resolve))
  functions.url = `http://${host}:${(server.address() as AddressInfo).port}`
  return functions
}
