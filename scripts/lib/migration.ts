/** What the migration wants the jobs to be, read from its own text. */

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'

const FOLDER = fileURLToPath(new URL('../../supabase/migrations', import.meta.url))

export interface WantedJob {
  name: string
  schedule: string
  function: string
  command: string
}

/** The newest migration that has the jobs' template, relative to this project. */
export function migrationFile(): string {
  const found = fs
    .readdirSync(FOLDER)
    .sort()
    .findLast((name) => fs.readFileSync(path.join(FOLDER, name), 'utf8').includes('$template$do $job$'))
  if (!found) throw new Error('supabase/migrations has no migration with the jobs’ template')
  return `supabase/migrations/${found}`
}

/** The jobs in the migration's list, with the commands that it would give them; PostgreSQL fills in the template. */
export async function wantedJobs(session: pg.Client): Promise<WantedJob[]> {
  const text = fs.readFileSync(path.join(FOLDER, path.basename(migrationFile())), 'utf8')
  const between = (tag: string) => text.split(`$${tag}$`)[1]
  const { rows } = await session.query<WantedJob>(
    `select name, schedule, function, replace(replace(replace($2,
       '%function%', function), '%body%', quote_literal(body)), '%answer_within%', answer_within) as command
     from jsonb_to_recordset($1) as wanted (name text, schedule text, function text, body text, answer_within text)`,
    [between('jobs'), between('template')]
  )
  return rows
}
