/** `npm run test:supabase`: every case on a throw-away Supabase database that is named by URL. */

import { main, readArguments } from './lib/terminal.ts'
import { emptyDatabase, openThrowAway, versions } from './stack/named.ts'
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

main(async () => {
  const { values } = readArguments(HELP, { 'throw-away': { type: 'string' } })
  const { session, admin, url, log, close } = await openThrowAway(values['throw-away'])
  try {
    await prepare()
    heading('the migrations, by the Supabase CLI')
    const home = process.env.TMPDIR ?? ''
    await emptyDatabase(admin)
    await supabase(home, 'migration', 'up', `--remote=${url}`)
    process.stdout.write(
      `${await versions(session)}\n${log ? '' : 'SERVER_LOG is not set: the log is not searched.\n'}`
    )

    pgtap(await node([...script('test-db'), '--db-url', url], true))
    heading('vitest')
    process.env.TEST_SUPABASE = '1'
    await vitest()
    await emptyDatabase(admin)
    await supabase(home, 'migration', 'up', `--remote=${url}`)
    return sum()
  } finally {
    await close()
  }
})
