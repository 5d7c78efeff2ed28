/** Connections to the database, and what went wrong with them in words a person can act on. */

import pg from 'pg'

/** Where the Supabase CLI's local database listens. */
export const LOCAL_DATABASE_URL = 'postgresql://postgres:postgres@127.0.0.1:54322/postgres'

/** Opens one session. @throws pg's own error where the server cannot be reached or refuses */
export async function connect(url: string, applicationName = 'supabase-cron-vault'): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: applicationName })
  client.on('error', () => {}) // a session that ends while idle; the next query says so
  await client.connect()
  return client
}
