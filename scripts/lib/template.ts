/** The jobs' template: what the migration's text says, and which commands in a database come from it. */

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'

const FOLDER = fileURLToPath(new URL('../../supabase/migrations', import.meta.url))

/** A command's own fields. `answer_within` is in seconds; without `header` the key goes into Authorization and apikey. */
export interface Fields {
  function: string
  body: unknown
  answer_within: number
  secret: string
  header?: string
}

export interface WantedJob {
  name: string
  schedule: string
  function: string
  command: string
}

/** The migrations that `mark` stands in, oldest first. */
function migrationsWith(mark: string): { name: string; text: string }[] {
  const found = fs
    .readdirSync(FOLDER)
    .sort()
    .map((name) => ({ name, text: fs.readFileSync(path.join(FOLDER, name), 'utf8').replaceAll('\r\n', '\n') }))
    .filter(({ text }) => text.includes(mark))
  if (found.length === 0) throw new Error(`supabase/migrations has no migration with ${mark}`)
  return found
}

/** The newest migration that `mark` stands in, relative to this project. */
const newest = (mark: string): string => `supabase/migrations/${migrationsWith(mark).at(-1)?.name}`

const HAS_TEMPLATE = '$template$-- supabase-cron-vault'

/** The migration of the jobs, relative to this project. */
export const jobsMigration = (): string => newest(HAS_TEMPLATE)

/** The migration of the history, relative to this project. */
export const historyMigration = (): string => newest('-- supabase-cron-vault removed')

/** The first line of a command that comes from the template, in any version. */
const FIRST_LINE = /^-- supabase-cron-vault, template [0-9]+:/

/** The fields of a command that comes from the template; undefined for any other command. */
export function fieldsOf(command: string): Fields | undefined {
  const line = /^ {2}job constant jsonb := \$line\$(\{[^\n]*\})\$line\$;$/m.exec(command)?.[1]
  return line !== undefined && FIRST_LINE.test(command) ? (JSON.parse(line) as Fields) : undefined
}

/** How a command reads its key. */
const READS_KEY = "(select decrypted_secret from vault.decrypted_secrets where name = job ->> 'secret')"

/**
 * The same command, but with the key that the session keeps in `setting`. The key is in no statement and in no table then.
 * @returns undefined where the command does not read its key as the template does
 */
export const withKeyFrom = (setting: string, command: string): string | undefined =>
  command.includes(READS_KEY) ? command.replace(READS_KEY, `pg_catalog.current_setting('${setting}')`) : undefined

/** The same command with other durations, in seconds: what the function may take, and when a run gives up. For tests. */
export const withDurations = (command: string, answerWithin: number, giveUpAfter: number): string =>
  command
    .replace(/"answer_within": ?[\d.]+\}\$line\$/, `"answer_within": ${answerWithin}}$$line$$`)
    .replace(/give_up_after := [^;]+;/, `give_up_after := ${giveUpAfter};`)

/** The same command with other fields. PostgreSQL's jsonb reads \u0024 as $. For tests. */
export const withFields = (command: string, fields: Partial<Fields>): string => {
  const line = JSON.stringify({ ...fieldsOf(command), ...fields }).replaceAll('$', '\\u0024')
  return command.replace(/\$line\$[^\n]*\$line\$/, () => `$line$${line}$line$`)
}

/**
 * Seconds that a run may wait at the most: of a command that comes from the template, when it gives up; 110 s of any other, as with
 * the shortest answer_within.
 */
export function longestWait(command: string): number {
  const answerWithin = fieldsOf(command)?.answer_within ?? 0
  return answerWithin <= 50 ? 110 : 2 * answerWithin + 10
}

/** Seconds after which a run that has not ended was lost: in a crash of the server, for example. */
export const lostAfter = (command: string): number => longestWait(command) + 70

/** Seconds that statement_timeout must allow: a tenth more than a run may wait. Of 110 s, Supabase's own two minutes are enough. */
export function neededTimeout(command: string): number {
  const wait = longestWait(command)
  return wait === 110 ? 120 : Math.ceil(1.1 * wait)
}

/** The jobs in the lists of all migrations, with the commands that the newest template gives them. Of two with one name, the newer. */
export async function wantedJobs(session: pg.Client): Promise<WantedJob[]> {
  const texts = migrationsWith(HAS_TEMPLATE).map(({ text }) => text)
  const jobs = new Map<string, WantedJob>()
  for (const text of texts) {
    const { rows } = await session.query<WantedJob>(
      `select job ->> 'name' as name, job ->> 'schedule' as schedule, job ->> 'function' as function, replace($2, '{}',
         replace((('{"secret": "service_role_key"}' || job) - '{name,schedule}'::text[])::text, '$', '\\u0024')) as command
       from jsonb_array_elements($1) as job`,
      [text.split('$jobs$')[1], texts.at(-1)?.split('$template$')[1]]
    )
    for (const job of rows) jobs.set(job.name, job)
  }
  return [...jobs.values()]
}
