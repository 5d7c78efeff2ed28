/** The throw-away database that `npm run test:supabase` is given. */

import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'

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
  const { rows } = await admin.query(`select to_regclass('cron.job') is not null and to_regclass('net._http_response') is not null as there`)
  if (!rows[0].there) return
  await admin.query('delete from cron.job')
  const running = `select from cron.job_run_details where status not in ('succeeded', 'failed')`
  while ((await admin.query(running)).rowCount) await sleep(50)
  await admin.query('delete from cron.job_run_details; delete from net.http_request_queue; delete from net._http_response')
}
