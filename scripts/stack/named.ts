/** The throw-away database that `npm run test:supabase` and `npm run bench` are given. */

import fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { databaseUrl, isLocal, open, place } from '../lib/database.ts'
import { fieldsOf, wantedJobs } from '../lib/template.ts'
import { Failure } from '../lib/terminal.ts'

/** Connection strings as `postgres` and as `supabase_admin`; this machine's name for the server; the file of the server's log. */
export const namedDatabase = () => ({
  url: process.env.DATABASE_URL ?? '',
  adminUrl: process.env.DATABASE_ADMIN_URL ?? '',
  functionsHost: process.env.FUNCTIONS_HOST || '127.0.0.1',
  log: process.env.SERVER_LOG || undefined
})

/** Removes all jobs and runs, Vault's rows, pg_net's requests and responses, and the record of applied migrations. */
export async function emptyDatabase(admin: pg.Client): Promise<void> {
  await admin.query('drop schema if exists supabase_migrations cascade; delete from vault.secrets')
  const { rows } = await admin.query(
    `select to_regclass('cron.job') is not null and to_regclass('net._http_response') is not null as there`
  )
  if (!rows[0].there) return
  await admin.query('delete from cron.job')
  const running = `select from cron.job_run_details where status not in ('succeeded', 'failed')`
  while ((await admin.query(running)).rowCount) await sleep(50)
  await admin.query(
    'delete from cron.job_run_details; delete from net.http_request_queue; delete from net._http_response'
  )
}

/** A database that somebody uses is refused. @throws Failure with code 2 that says what is there */
async function refuseUsed(session: pg.Client, url: string): Promise<void> {
  const used = (what: string) => new Failure(`${place(url)} is not a database to throw away: it has ${what}`, 2)
  const { rows: tables } = await session.query(`
    select min(c.oid::regclass::text) as first, count(*)::int as n from pg_class as c
    where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace
      and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')`)
  if (tables[0].n) throw used(`tables in public (${tables[0].n}, such as ${tables[0].first})`)
  const { rows: there } = await session.query("select to_regclass('cron.job') is not null as pg_cron")
  if (!there[0].pg_cron) return
  const wanted = await wantedJobs(session)
  const { rows: jobs } = await session.query('select jobid, jobname, command from cron.job order by jobid')
  const other = jobs.find(({ jobname, command }) => !fieldsOf(command) || !wanted.some(({ name }) => name === jobname))
  if (other)
    throw used(`job ${other.jobid} (${other.jobname ?? 'without a name'}), which is not the migration's. Start it anew`)
}

/** The versions of PostgreSQL and of the extensions, and which of these are stand-ins. */
export async function versions(session: pg.Client): Promise<string> {
  const { rows } = await session.query(`
    select concat_ws(' ', case when obj_description(oid, 'pg_extension') like 'Stand-in%' then 'a stand-in of' end, extname, extversion)
      as extension from pg_extension where extname in ('pg_cron', 'pg_net', 'supabase_vault') order by extname`)
  const { rows: server } = await session.query('show server_version')
  return [`PostgreSQL ${server[0].server_version.split(' ')[0]}`, ...rows.map(({ extension }) => extension)].join(', ')
}

/**
 * Opens the named database as both roles. @param throwAway the host that the user spelled out, where it is not local
 * @throws Failure with code 2 where it is not named, or somebody uses it
 */
export async function openThrowAway(throwAway: string | undefined) {
  const named = namedDatabase()
  const { url, adminUrl, log } = named
  for (const [name, value] of Object.entries({ DATABASE_URL: url, DATABASE_ADMIN_URL: adminUrl }))
    if (value) databaseUrl(value)
    else throw new Failure(`${name} is not set: name a throw-away database (--help has examples)`, 2)
  if (place(url) !== place(adminUrl))
    throw new Failure(
      `DATABASE_URL is ${place(url)}, and DATABASE_ADMIN_URL is ${place(adminUrl)}: name one database`,
      2
    )
  const { hostname } = new URL(url)
  if (!isLocal(url) && throwAway !== hostname)
    throw new Failure(`${place(url)} is not local, and its Vault would be emptied: say --throw-away ${hostname}`, 2)
  if (log && !fs.existsSync(log)) throw new Failure(`SERVER_LOG: there is no file ${log}`, 2)
  const [session, admin] = [await open(url), await open(adminUrl)]
  const close = async () => {
    await Promise.all([session.end(), admin.end()])
  }
  await refuseUsed(admin, url).catch(async (error) => {
    await close()
    throw error
  })
  return { ...named, session, admin, close }
}
