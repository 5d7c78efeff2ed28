/** What ends with what: this process with the npm that started it, a temporary folder with this process. */

import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import type { Socket } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'

/** Name and parent of a process: from /proc, else (macOS) from ps. */
function look(pid: number): { name: string; parent: number } {
  try {
    const [, name = '', rest = ''] = /^\d+ \((.*)\) \S (\d+)/s.exec(fs.readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    return { name, parent: Number(rest) }
  } catch {
    const [parent = '', ...name] = execFileSync('ps', ['-o', 'ppid=,comm=', '-p', `${pid}`])
      .toString()
      .trim()
      .split(' ')
    return { name: name.join(' '), parent: Number(parent) }
  }
}

/**
 * A killed npm leaves the shell and the script that it started running, and a stack with them: end with it. Does nothing
 * outside npm, where a process may outlive its parent on purpose.
 */
export function endWithNpm(): void {
  if (process.env.npm_lifecycle_event === undefined) return
  const byShell = !/^npm/.test(look(process.ppid).name)
  const ancestors = () => `${process.ppid} ${byShell ? look(process.ppid).parent : ''}`
  const first = ancestors()
  setInterval(() => ancestors() === first || process.exit(1), 300).unref()
}

/** A folder for temporary files that goes away with this process, SIGKILL included. */
export async function temporaryFolder(): Promise<string> {
  const janitor = spawn(process.execPath, [path.join(import.meta.dirname, 'janitor.mjs')], {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true
  })
  const folder = await new Promise<string>((resolve, reject) => {
    createInterface(janitor.stdout).once('line', resolve)
    janitor.once('exit', () => reject(new Error('no temporary folder could be made')))
  })
  janitor.unref() // it must not keep this process up
  for (const pipe of [janitor.stdin, janitor.stdout]) (pipe as Socket).unref()
  return folder
}
