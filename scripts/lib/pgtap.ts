/** Runs pgTAP files as `supabase test db` does: each in a session of its own, in the transaction the file makes. */

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Parser } from 'tap-parser'
import { connect } from './database.ts'
import { Failure } from './terminal.ts'

const TESTS = fileURLToPath(new URL('../../supabase/tests', import.meta.url))

export interface FileResult {
  /** The file, relative to supabase/tests. */
  file: string
  passed: number
  failed: number
  /** What pgTAP or PostgreSQL said of what failed, with have and want. */
  complaints: string[]
}

/** Every pgTAP file, relative to supabase/tests. */
export const files = (): string[] =>
  fs
    .readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.sql'))
    .sort()

/** Whether a file's output is a plan kept, and what it says where it is not. */
export function read(file: string, output: string, error?: Error): FileResult {
  const parser = new Parser()
  parser.end(output)
  const { pass, fail, plan } = parser.results ?? { pass: 0, fail: 0, plan: { end: 0 } }
  const complaints: string[] = []
  let failing = false
  for (const line of output.split('\n')) {
    if (!line.startsWith('#')) failing = line.startsWith('not ok')
    if (failing) complaints.push(line)
  }
  const planned = plan.end ?? 0
  if (error) complaints.push(`ended by an error: ${error.message}`)
  else if (planned !== pass + fail || planned === 0) complaints.push(`planned ${planned} tests and ran ${pass + fail}`)
  return { file, passed: pass, failed: complaints.length ? Math.max(1, fail) : fail, complaints }
}

/** Runs one file, named relative to supabase/tests, in a database that has pgTAP. */
export async function runFile(
  url: string,
  file: string,
  text = fs.readFileSync(path.join(TESTS, file), 'utf8')
): Promise<FileResult> {
  const session = await connect(url)
  let output = ''
  let error: Error | undefined
  try {
    const results = [await session.query({ text, rowMode: 'array' })].flat()
    output = results.flatMap((result) => result.rows.map((row: unknown[]) => row.join(''))).join('\n')
  } catch (thrown) {
    error = thrown as Error
  }
  await session.end()
  return read(file, output, error)
}

/**
 * Runs every file of supabase/tests. pgTAP is created in the schema extensions where it is missing, and dropped again.
 * @param report called as each file ends
 * @throws pg's error where the database cannot be reached or refuses the extension
 */
export async function runPgtap(url: string, report: (result: FileResult) => void): Promise<FileResult[]> {
  const session = await connect(url)
  let interrupted = false
  const interrupt = () => {
    interrupted = true
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupt)
  try {
    const { rowCount } = await session.query("select from pg_extension where extname = 'pgtap'")
    await session.query('create extension if not exists pgtap with schema extensions')
    try {
      const results: FileResult[] = []
      for (const file of files()) {
        if (interrupted) throw new Failure('interrupted')
        const result = await runFile(url, file)
        report(result)
        results.push(result)
      }
      return results
    } finally {
      if (rowCount === 0) await session.query('drop extension pgtap')
    }
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupt)
    await session.end()
  }
}
