/** What both background workers do: hold one session, work in it, and come back when it ends. */

import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { connect } from '../../lib/database.ts'

export interface Worker {
  /** Starts the next turn now. */
  wake(): void
  /** Ends at once, as SIGKILL would: whatever is under way is rolled back by the server. */
  stop(): Promise<void>
}

/** Ends a session without waiting for a query that is under way. */
export const hangUp = (session: pg.Client): void =>
  (session as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()

/**
 * Keeps one session open and, once the relation `needs` is there, calls `turn` in it over and over: `pause` (ms) apart,
 * or sooner where the database notifies `channel`. A session that ends (pg_terminate_backend, a crash of the server, an
 * error in a turn, the word `restart` on the channel) is replaced after `away` (ms).
 */
export function startWorker(options: {
  url: string
  name: string
  needs: string
  channel?: string
  pause: number
  away: number
  begin?: (session: pg.Client) => Promise<void>
  turn: (session: pg.Client, signal: AbortSignal) => Promise<void>
}): Worker {
  const stopped = new AbortController()
  let woken = false
  let rise = () => {}
  const wake = () => {
    woken = true
    rise()
  }
  const rest = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, woken ? 0 : ms)
      rise = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  async function work() {
    const session = await connect(options.url, options.name)
    const over = new AbortController()
    const end = () => {
      over.abort()
      wake()
    }
    session.on('end', end).on('error', end)
    session.on('notification', ({ payload }) => (payload === 'restart' ? end() : wake()))
    stopped.signal.addEventListener('abort', end)
    if (stopped.signal.aborted) end()
    try {
      if (options.channel) await session.query(`listen ${options.channel}`)
      const there = async () =>
        (await session.query('select to_regclass($1) as oid', [options.needs])).rows[0].oid !== null
      while (!over.signal.aborted && !(await there())) await rest(100)
      if (over.signal.aborted) return
      await options.begin?.(session)
      while (!over.signal.aborted) {
        woken = false
        await options.turn(session, over.signal)
        await rest(options.pause)
      }
    } finally {
      stopped.signal.removeEventListener('abort', end)
      hangUp(session)
    }
  }

  const running = (async () => {
    while (!stopped.signal.aborted) {
      await work().catch(() => {}) // the session is gone; the next one starts afresh
      await sleep(options.away, undefined, { signal: stopped.signal }).catch(() => {})
    }
  })()

  return {
    wake,
    async stop() {
      stopped.abort()
      await running
    }
  }
}
