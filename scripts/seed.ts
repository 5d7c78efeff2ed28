/** `npm run seed`: the two Vault rows of a local database. */

import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { databaseUrl, isLocal, open, place } from './lib/database.ts'
import { describe, problem } from './lib/keys.ts'
import { Failure, main, readArguments } from './lib/terminal.ts'
import { requireVault, urlProblem, writeSecrets } from './lib/vault.ts'

const HELP = `
Usage: npm run seed -- [--db-url <url>]

Fills the Vault rows service_role_key and project_url of a local database, in one transaction.

  On the Supabase CLI's local stack, key and URL come from \`supabase status\`.
  On any other local database they come from the environment:
    SUPABASE_SERVICE_ROLE_KEY or SERVICE_ROLE_KEY  the key
    PROJECT_URL                                    where the database finds the edge functions

Options:
  --db-url <url>  the database, as postgres (default: DATABASE_URL, then the Supabase CLI's local database)
  --into <host>   the host of a database that is not local, spelled out: without it, seed refuses one
  --help          this text

Exit code: 0 done, 1 not, 2 wrong use
`

/** From inside the CLI's database container the API gateway has this name; localhost is the container itself. */
const GATEWAY = 'http://api.supabase.internal:8000'

/** Where the user stands: `npm --prefix <this checkout> run seed` in a project of their own asks about that project. */
const PROJECT = process.env.INIT_CWD ?? process.cwd()

interface Secrets {
  from: string
  key: string | undefined
  url: string | undefined
}

/** The port of the CLI's local database, by supabase/config.toml. */
function localPort(): string {
  try {
    return (
      /^\[db\][^[]*?^port\s*=\s*(\d+)/ms.exec(
        fs.readFileSync(path.join(PROJECT, 'supabase/config.toml'), 'utf8')
      )?.[1] ?? '54322'
    )
  } catch {
    return '54322'
  }
}

/** What the CLI says of the local stack, where this database is the one of that stack. */
async function fromStatus(database: string): Promise<Secrets | undefined> {
  if (new URL(database).port !== localPort()) return undefined
  try {
    const { stdout } = await promisify(execFile)('supabase', ['status', '-o', 'json'], {
      cwd: PROJECT,
      timeout: 20_000
    })
    const status: { SERVICE_ROLE_KEY?: string } = JSON.parse(stdout.slice(stdout.indexOf('{')))
    if (!status.SERVICE_ROLE_KEY) return undefined
    return { from: 'supabase status', key: status.SERVICE_ROLE_KEY, url: GATEWAY }
  } catch {
    return undefined // no CLI, no Docker, or no stack: the environment speaks
  }
}

const fromEnvironment = (): Secrets => ({
  from: 'the environment',
  key: process.env.SUPABASE_SERVICE_ROLE_KEY || process.env.SERVICE_ROLE_KEY,
  url: process.env.PROJECT_URL
})

main(async () => {
  const { values } = readArguments(HELP, { 'db-url': { type: 'string' }, into: { type: 'string' } })
  const database = databaseUrl(values['db-url'])
  const { hostname } = new URL(database)
  if (!isLocal(database) && values.into !== hostname)
    throw new Failure(
      `${place(database)} is not a local database, and seed writes local keys: use npm run rotate, or say --into ${hostname}`
    )

  const session = await open(database)
  try {
    await requireVault(session)
    const { from, key, url } = (await fromStatus(database)) ?? fromEnvironment()
    if (!key)
      throw new Failure(
        'no key: start the local stack (`supabase start`), or set SUPABASE_SERVICE_ROLE_KEY and PROJECT_URL'
      )
    const badKey = problem(key)
    if (badKey) throw new Failure(`the key from ${from} cannot be the one the jobs send: ${badKey}`)
    if (!url) throw new Failure('no URL: set PROJECT_URL to where the database finds the edge functions')
    const badUrl = urlProblem(url)
    if (badUrl) throw new Failure(`PROJECT_URL cannot be the project's URL: ${badUrl}`)

    const done = await writeSecrets(session, { service_role_key: key, project_url: url })
    process.stdout.write(`Vault of ${place(database)}, from ${from}:\n`)
    process.stdout.write(`  service_role_key  ${done.get('service_role_key')}: ${describe(key)}\n`)
    process.stdout.write(`  project_url       ${done.get('project_url')}: ${url}\n`)
    return 0
  } finally {
    await session.end()
  }
})
