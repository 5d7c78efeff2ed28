/** The two Vault rows that the jobs read. */

import type pg from 'pg'
import { Failure } from './terminal.ts'

export type SecretName = 'service_role_key' | 'project_url'

/** What a project URL may look like: the jobs check the same (http only where the host is local). */
const PROJECT_URL =
  /^(https:\/\/[a-z0-9.-]+(:[0-9]+)?|http:\/\/([a-z][a-z0-9-]*|[a-z0-9.-]+\.internal|127\.0\.0\.1)(:[0-9]+)?)\/?$/

/** Why this cannot be project_url; undefined where it can. */
export const urlProblem = (url: string): string | undefined =>
  PROJECT_URL.test(url)
    ? undefined
    : 'it must be https://<ref>.supabase.co, without a path (http only for a local host)'

/** The hosted project that a project URL names; undefined for a local one, a custom domain, or none. */
export const projectOf = (url: string | null | undefined): string | undefined =>
  /^https:\/\/([a-z0-9]+)\.supabase\.co\b/.exec(url ?? '')?.[1]

/** @throws Failure where the database has no Vault */
export async function requireVault(session: pg.Client): Promise<void> {
  const { rows } = await session.query("select to_regclass('vault.decrypted_secrets') is not null as there")
  if (!rows[0].there)
    throw new Failure(
      'this database has no Vault: run the migration first (`supabase db reset`, `supabase migration up`)'
    )
}

/**
 * Keeps this session's statements, and the values bound to them, out of the server's log, where the role may do that: on
 * Supabase postgres may set log_min_messages, but neither log_statement nor log_min_duration_statement (supautils looks at
 * the statement SET only, not at set_config).
 * @param until the end of the transaction or of the session
 */
export async function logNothing(session: pg.Client, until: 'transaction' | 'session'): Promise<void> {
  await session.query(`
    do $quiet$
    begin
      set ${until === 'transaction' ? 'local' : 'session'} log_min_messages = panic;
    exception when insufficient_privilege then null;
    end
    $quiet$`)
}

/**
 * What a row holds: its value, null where it cannot be decrypted, undefined where it is missing.
 * @throws pg's error where the role may not read Vault
 */
export async function readSecret(session: pg.Client, name: SecretName): Promise<string | null | undefined> {
  try {
    const { rows } = await session.query(
      'select decrypted_secret as value from vault.decrypted_secrets where name = $1',
      [name]
    )
    return rows[0]?.value
  } catch (error) {
    if ((error as { code?: string }).code?.startsWith('22')) return null // data exception: the ciphertext is broken
    throw error
  }
}

export type Written = 'created' | 'updated' | 'left as it was' | 'replaced (it could not be decrypted)'

/**
 * Writes secrets in one transaction, one writer at a time, each by update_secret: create_secret would leave the value in
 * clear in the heap and the WAL. A row that is missing is created empty first; one that cannot be decrypted is replaced,
 * since update_secret fails on it.
 * @returns what was done with each
 * @throws Failure where a value does not read back; nothing is written then
 */
export async function writeSecrets(
  session: pg.Client,
  secrets: Partial<Record<SecretName, string>>
): Promise<Map<string, Written>> {
  const done = new Map<string, Written>()
  await session.query('begin')
  try {
    await logNothing(session, 'transaction')
    await session.query("select pg_advisory_xact_lock(hashtext('vault.secrets of the cron jobs'))")
    for (const [name, value] of Object.entries(secrets))
      done.set(name, await writeSecret(session, name as SecretName, value))
    await session.query('commit')
  } catch (error) {
    await session.query('rollback').catch(() => {})
    throw error
  }
  return done
}

async function writeSecret(session: pg.Client, name: SecretName, value: string): Promise<Written> {
  const { rows } = await session.query('select description from vault.secrets where name = $1', [name])
  await session.query('savepoint reading')
  const present = await readSecret(session, name)
  if (present === value) return 'left as it was'
  if (present === null) {
    await session.query('rollback to savepoint reading')
    await session.query('delete from vault.secrets where name = $1', [name])
  }
  if (typeof present !== 'string')
    await session.query("select vault.create_secret('', $1, $2)", [name, rows[0]?.description ?? ''])
  await session.query('select vault.update_secret(id, $2) from vault.secrets where name = $1', [name, value])
  if ((await readSecret(session, name)) !== value)
    throw new Failure(`Vault secret "${name}" did not read back as it was written: nothing was changed`)
  if (present === undefined) return 'created'
  return present === null ? 'replaced (it could not be decrypted)' : 'updated'
}
