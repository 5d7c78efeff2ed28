/** A throw-away PostgreSQL server: starts it, prepares it as a fresh Supabase, and hands out databases. */

import { type ChildProcess, spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connect } from '../lib/database.ts'
import { type EngineName, engine } from './engines.ts'

const here = path.dirname(fileURLToPath(import.meta.url))

export interface Server {
  /** The server's folder: data, socket, log and extension files. Gone when the server is. */
  dir: string
  port: number
  /** Connection string of one role for one database, over TCP. Both roles have the password `postgres`. */
  url(role: 'postgres' | 'supabase_admin', database?: string): string
  /** The same over the socket, where every role may log in without a password, as pg_cron's sessions do. */
  socketUrl(role: string, database: string): string
  /** Creates a database: a fresh Supabase, or a copy of `template`. */
  createDatabase(name: string, template?: string): Promise<void>
  dropDatabase(name: string): Promise<void>
  /** What the server has logged so far. */
  log(): string
  /** Kills the server (SIGKILL): its supervisor brings it back. What it had not written is lost, as in a crash. */
  kill(): void
  /** Stops the server and removes its folder. */
  stop(): Promise<void>
}

/** Reads the supervisor's messages until `key` comes. Throws with the supervisor's own words if it fails first. */
function messages(supervisor: ChildProcess) {
  const seen: Record<string, unknown> = {}
  const waiting = new Set<() => void>()
  let ended = false
  createInterface({ input: supervisor.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    Object.assign(seen, JSON.parse(line))
    for (const wake of waiting) wake()
  })
  supervisor.once('close', () => {
    ended = true
    for (const wake of waiting) wake()
  })
  return (key: string) =>
    new Promise<unknown>((resolve, reject) => {
      const wake = () => {
        if (seen.error || (ended && !(key in seen))) reject(new Error(`embedded PostgreSQL: ${seen.error ?? 'ended'}`))
        else if (key in seen) resolve(seen[key])
        else return
        waiting.delete(wake)
      }
      waiting.add(wake)
      wake()
    })
}

/**
 * Starts PostgreSQL (from npm: 0.7 s) with Supabase's roles, schemas and extensions in the database `postgres`.
 * @param settings further lines of postgresql.conf
 * @throws Error with the last lines of the server's log where it does not start
 */
export async function startServer(name: EngineName = 'npm', settings: string[] = []): Promise<Server> {
  const { bin, settings: own, install, bootstrap: more } = await engine(name)
  const config = JSON.stringify({ bin, settings: [...own, ...settings] })
  const supervisor = spawn(process.execPath, [path.join(here, 'supervisor.mjs'), config], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true
  })
  const gone = new Promise<void>((resolve) => supervisor.once('close', () => resolve()))
  supervisor.stdin.on('error', () => {}) // it ended first
  const next = messages(supervisor)

  const dir = String(await next('dir'))
  await install(dir)
  const port = Number(await next('port'))

  const server = serverAt(dir, port)
  await bootstrap(server, 'postgres', more)
  return {
    ...server,
    async stop() {
      supervisor.stdin.end('stop')
      await gone
    }
  }
}

/** A server that is running already, by its folder and port; stopping it is left to whoever started it. */
export function serverAt(dir: string, port: number): Server {
  const server: Server = {
    dir,
    port,
    url: (role, database = 'postgres') => `postgresql://${role}:postgres@127.0.0.1:${port}/${database}`,
    socketUrl: (role, database) =>
      `postgresql://${encodeURIComponent(role)}@/${database}?host=${encodeURIComponent(dir)}&port=${port}`,
    async createDatabase(name, template) {
      const admin = await connect(server.socketUrl('supabase_admin', 'template1'))
      await admin.query(`create database ${name} template ${template ?? 'template0'}`)
      if (template) await admin.query(`alter database ${name} owner to postgres`)
      await admin.end()
      if (!template) await bootstrap(server, name)
    },
    async dropDatabase(name) {
      const admin = await connect(server.socketUrl('supabase_admin', 'template1'))
      await admin.query(`drop database ${name} with (force)`)
      await admin.end()
    },
    log: () => fs.readFileSync(path.join(dir, 'server.log'), 'utf8'),
    kill() {
      process.kill(Number(fs.readFileSync(path.join(dir, 'data/postmaster.pid'), 'utf8').split('\n')[0]), 'SIGKILL')
    },
    stop: async () => {}
  }
  return server
}

async function bootstrap(server: Server, database: string, more = '') {
  const admin = await connect(server.socketUrl('supabase_admin', database))
  await admin.query(fs.readFileSync(path.join(here, 'bootstrap.sql'), 'utf8') + more)
  await admin.end()
}
