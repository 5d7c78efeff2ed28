/** The embedded stack: what `supabase start` gives, as far as this project needs it, without Docker. */

import { execFile } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { nextTime } from '../lib/jobs.ts'
import type { EngineName } from './engines.ts'
import { type EdgeFunctions, startEdgeFunctions } from './functions.ts'
import { legacyKey } from './keys.ts'
import { type Server, startServer } from './server.ts'
import { type Scheduler, startScheduler } from './workers/cron.ts'
import { startNetWorker } from './workers/net.ts'
import type { Worker } from './workers/worker.ts'

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')

/** A Supabase project: one database of the server with its own background workers and edge functions. */
export interface Project {
  database: string
  /** Connection strings of `postgres` and of `supabase_admin`. */
  url: string
  adminUrl: string
  functions: EdgeFunctions
  net: Worker
  scheduler: Scheduler
  startNet(): void
  stop(): Promise<void>
}

/** What stands in place of the launcher's stand-in where pg_cron is real. */
const REAL_CRON: Scheduler = {
  runNow() {
    throw new Error('the real pg_cron starts jobs at their times only')
  },
  wake() {},
  async stop() {}
}

/** Puts the workers and the functions, with a key of their own, beside a database. */
export async function startProject(
  server: Server,
  database: string,
  options: { realCron?: boolean; next?: typeof nextTime } = {}
): Promise<Project> {
  const startNet = () => startNetWorker(server.socketUrl('supabase_admin', database))
  const project: Project = {
    database,
    url: server.url('postgres', database),
    adminUrl: server.url('supabase_admin', database),
    functions: await startEdgeFunctions(legacyKey()),
    net: startNet(),
    scheduler: options.realCron ? REAL_CRON : startScheduler(server.socketUrl, database, options.next),
    startNet() {
      project.net = startNet()
    },
    async stop() {
      await Promise.all([project.net.stop(), project.scheduler.stop(), project.functions.stop()])
    }
  }
  return project
}

/** What runs the Supabase CLI with node, in this project and with its own files in `home`. */
export function cli(home: string, args: string[]) {
  const program = path.join(ROOT, 'node_modules/supabase/dist/supabase.js')
  const env = { ...process.env, HOME: home, TMPDIR: home, DO_NOT_TRACK: '1', NO_COLOR: '1' }
  return { args: [program, ...args, '--workdir', ROOT, '--yes'], options: { env, cwd: ROOT } }
}

/** Runs the Supabase CLI in this project. @throws Error with what it printed */
export async function supabase(home: string, ...args: string[]): Promise<string> {
  const run = cli(home, args)
  const leash = [path.join(ROOT, 'scripts/stack/leash.mjs'), process.execPath]
  const ran = promisify(execFile)(process.execPath, [...leash, ...run.args], run.options)
  const { stdout, stderr } = await ran.catch((error) => {
    throw new Error(`supabase ${args[0]} ${args[1]} failed:\n${error.stdout}${error.stderr}`)
  })
  return stdout + stderr
}

/** Applies supabase/migrations to a database as the Supabase CLI does it. */
export const migrate = (server: Server, database = 'postgres'): Promise<string> =>
  supabase(server.dir, 'migration', 'up', `--remote=${server.url('postgres', database)}`)

export interface Stack extends Project {
  server: Server
}

/** Starts a server and its project; with the migrations applied unless `empty`. */
export async function startStack(options: { empty?: boolean; engine?: EngineName } = {}): Promise<Stack> {
  const server = await startServer(options.engine)
  try {
    if (!options.empty) await migrate(server)
    const project = await startProject(server, 'postgres', { realCron: options.engine === 'debian' })
    const stopProject = project.stop
    const stop = async () => {
      await stopProject()
      await server.stop()
    }
    return Object.assign(project, { server, stop })
  } catch (error) {
    await server.stop()
    throw error
  }
}
