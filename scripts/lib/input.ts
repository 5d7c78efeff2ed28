/** A secret from whoever runs a command: never from an argument, never shown. */

import fs from 'node:fs'
import password from '@inquirer/password'
import { Failure } from './terminal.ts'

/** Everything on standard input, where that is a pipe or a file; undefined for a terminal, /dev/null, or nothing. */
async function piped(): Promise<string | undefined> {
  try {
    if (process.stdin.isTTY || fs.fstatSync(0).isCharacterDevice()) return undefined
  } catch {
    return undefined // standard input is closed
  }
  const patience = setTimeout(() => process.stderr.write('Waiting for the key on standard input …\n'), 2000)
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  clearTimeout(patience)
  return (
    Buffer.concat(chunks)
      .toString()
      .replace(/\r?\n$/, '') || undefined
  )
}

/**
 * The key: from standard input where that is a pipe (one line break at its end is taken off), else from
 * SUPABASE_SERVICE_ROLE_KEY or SERVICE_ROLE_KEY, else from a hidden prompt.
 * @throws Failure where there is none, or where the prompt is left with Ctrl-C
 */
export async function readKey(question: string): Promise<{ key: string; from: string }> {
  const input = await piped()
  if (input !== undefined) return { key: input, from: 'standard input' }
  for (const name of ['SUPABASE_SERVICE_ROLE_KEY', 'SERVICE_ROLE_KEY']) {
    const key = process.env[name]
    if (key) return { key, from: name }
  }
  if (!process.stdin.isTTY)
    throw new Failure('no key: pipe it into standard input, set SUPABASE_SERVICE_ROLE_KEY, or run this on a terminal')
  try {
    return { key: await password({ message: question, mask: true }), from: 'the prompt' }
  } catch {
    throw new Failure('no key was given: nothing was changed')
  }
}
