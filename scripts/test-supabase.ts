/** `npm run test:supabase`: every case on a throw-away Supabase database that is named by URL. */

import fs from 'node:fs'
import type pg from 'pg'
import { databaseUrl, isLocal, open, place } from './lib/database.ts'
import { fieldsOf, wantedJobs } from './lib/template.ts'
import { Failure, main, readArguments } from './lib/terminal.ts'
import { emptyDatabase, namedDatabase } from './stack/named.ts'
import { supabase } from './stack/stack.ts'
import { heading, node, pgtap, prepare, script, sum, vitest } from './stack/steps.ts'

const HELP = `
Usage: npm run test:supabase -- [--throw-away <host>]

Runs, on a throw-away Supabase database: every pgTAP file, every outcome of a run, every fault that needs no crash of the server,
rotate, run-job, doctor, and the search for leaked keys. It EMPTIES Vault and pg_cron's history there.

Environment:
  DATABASE_URL        the database as postgres
  DATABASE_ADMIN_URL  the same as supabase_admin, the superuser
  FUNCTIONS_HOST      this machine, as the database's server finds it (default: 127.0.0.1; for a container: host.docker.internal)
  SERVER_LOG          the file of the server's log, which is searched for keys then

Options:
  --throw-away <host>  the host of a database that is not local, spelled out: without it, such a database is refused
  --help               this text

Examples:
  supabase db start && FUNCTIONS_HOST=host.docker.internal \\
    DATABASE_URL=postgresql://postgres:postgres@127.0.0.1:54322/postgres \\
    DATABASE_ADMIN_URL=postgresql://supabase_admin:postgres@127.0.0.1:54322/postgres npm run test:supabase
  npm run -s stack -- --engine debian npm run test:supabase

Exit code: 0 all passed, 1 not, 2 wrong use or a database that is not one to throw away
`

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
  const other = jobs.find(
    ({ jobname, command }) => !fieldsOf(command) || !wanted.some(({ name }) => name === jobname)
  )
  if (other)
    throw used(`job ${other.jobid} (${other.jobname ?? 'without a name'}), which is not the migration's. Start it anew`)
}

/** Which extensions are real on this server, and their versions. */
async function versions(session: pg.Client): Promise<string> {
  const { rows } = await session.query(`
    select concat_ws(' ', case when obj_description(oid, 'pg_extension') like 'Stand-in%' then 'a stand-in of' end, extname, extversion)
      as extension from pg_extension where extname in ('pg_cron', 'pg_net', 'supabase_vault') order by extname`)
  const { rows: server } = await session.query('show server_version')
  return [`PostgreSQL ${server[0].server_version.split(' ')[0]}`, ...rows.map(({ extension }) => extension)].join(', ')
}

main(async () => {
  const { values } = readArguments(HELP, { 'throw-away': { type: 'string' } })
  const { url, adminUrl, log } = namedDatabase()
  for (const [name, value] of Object.entries({ DATABASE_URL: url, DATABASE_ADMIN_URL: adminUrl }))
    if (!value) throw new Failure(`${name} is not set: name the throw-away database\n\n${HELP.trim()}`, 2)
  databaseUrl(url)
  databaseUrl(adminUrl)
  const { hostname } = new URL(url)
  if (place(url) !== place(adminUrl))
    throw new Failure(`DATABASE_URL names ${place(url)}, and DATABASE_ADMIN_URL ${place(adminUrl)}: name one database`, 2)
  if (!isLocal(url) && values['throw-away'] !== hostname)
    throw new Failure(`${place(url)} is not local, and its Vault would be emptied: say --throw-away ${hostname}`, 2)
  if (log && !fs.existsSync(log)) throw new Failure(`SERVER_LOG: there is no file ${log}`, 2)

  const [session, admin] = [await open(url), await open(adminUrl)]
  try {
    await refuseUsed(admin, url)
    await prepare()
    heading('the migrations, by the Supabase CLI')
    const home = process.env.TMPDIR ?? ''
    await emptyDatabase(admin)
    await supabase(home, 'migration', 'up', `--remote=${url}`)
    process.stdout.write(`${await versions(session)}\n${log ? '' : 'SERVER_LOG is not set: the log is not searched.\n'}`)

    pgtap(await node([...script('test-db'), '--db-url', url], true))
    heading('vitest')
    process.env.TEST_SUPABASE = '1'
    await vitest()
    await emptyDatabase(admin)
    await supabase(home, 'migration', 'up', `--remote=${url}`)
    return sum()
  } finally {
    await Promise.all([session.end(), admin.end()])
  }
})
