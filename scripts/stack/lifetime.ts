/** Ends this process with the npm that started it. */

import { execFileSync } from 'node:child_process'
import fs from 'node:fs'

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
  const { name, parent } = look(process.ppid)
  const ancestors = /^npm/.test(name) ? [process.ppid] : [process.ppid, parent]
  const alive = (pid: number) => {
    try {
      return process.kill(pid, 0)
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EPERM'
    }
  }
  const first = process.ppid
  setInterval(() => (process.ppid === first && ancestors.every(alive)) || process.exit(1), 200).unref()
}
