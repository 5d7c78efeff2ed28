/** Connections to the database, and what went wrong with them in words a person can act on. */

import pg from 'pg'
import { Failure } from './terminal.ts'

/** Where the Supabase CLI's local database listens. */
const LOCAL_DATABASE_URL = 'postgresql://postgres:postgres@127.0.0.1:54322/postgres'

/**
 * The database that was named: --db-url, else DATABASE_URL, else the Supabase CLI's local one.
 * @throws Failure with code 2 where that is no PostgreSQL URL
 */
export function databaseUrl(given: string | undefined): string {
  const url = given ?? (process.env.DATABASE_URL || LOCAL_DATABASE_URL)
  if (!/^postgres(ql)?:\/\/./.test(url) || !URL.canParse(url))
    throw new Failure(
      `${given === undefined ? 'DATABASE_URL' : '--db-url'} is no database URL: it looks like postgresql://postgres:<password>@<host>:5432/postgres`,
      2
    )
  return url
}

/** Host, port and database of a URL, without its password. */
export function place(url: string): string {
  const { hostname, port, pathname } = new URL(url)
  return `${hostname}:${port || 5432}${pathname}`
}

/** Whether a URL names this machine. */
export const isLocal = (url: string): boolean => ['localhost', '127.0.0.1', '[::1]'].includes(new URL(url).hostname)

/** Opens one session. @throws pg's own error where the server cannot be reached or refuses */
export async function connect(url: string, applicationName = 'supabase-cron-vault'): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: applicationName })
  client.on('error', () => {}) // a session that ends while idle; the next query says so
  await client.connect()
  return client
}

/** Opens one session for a command. @throws Failure that says what to do where that does not work */
export async function open(url: string): Promise<pg.Client> {
  try {
    return await connect(url)
  } catch (error) {
    const { code = '', message } = error as { code?: string; message: string }
    const where = place(url)
    if (code === '28P01') throw new Failure(`${where}: wrong password for ${new URL(url).username}`)
    if (code === '3D000') throw new Failure(`${where}: there is no such database on this server`)
    if (/no encryption/.test(message))
      throw new Failure(`${where}: the server wants TLS. Add ?uselibpqcompat=true&sslmode=require to the URL`)
    if (/CERT|certificate/.test(`${code} ${message}`))
      throw new Failure(
        `${where}: the server's certificate cannot be verified (${message}). Add sslrootcert=<Supabase's certificate> to the URL, or ?uselibpqcompat=true&sslmode=require to encrypt without verifying`
      )
    const next = isLocal(url)
      ? 'start it with `supabase start`, or name another with --db-url or DATABASE_URL (`npm run stack` prints its own)'
      : 'check host and port of --db-url (from a network without IPv6, use the session pooler)'
    throw new Failure(`${where}: cannot connect (${message || code}). ${next[0]?.toUpperCase()}${next.slice(1)}.`)
  }
}
