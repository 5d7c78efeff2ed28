// @ts-check
// Folders that go away: where they are made, and how.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Makes a temporary folder: below TMPDIR where that is set, else in memory where there is plenty of it (a server makes a
 * thousand files, which some disks take a second for), else where the system has them.
 * @param {string} prefix
 */
export function temporary(prefix) {
  return fs.mkdtempSync(path.join(fs.realpathSync(memory() ?? os.tmpdir()), prefix))
}

function memory() {
  if (process.env.TMPDIR) return undefined
  try {
    const { bavail, bsize } = fs.statfsSync('/dev/shm')
    // Programs are run from there, too.
    const fit = /^\S+ \/dev\/shm tmpfs (?!\S*noexec)/m.test(fs.readFileSync('/proc/mounts', 'utf8'))
    return fit && bavail * bsize > 4e9 ? '/dev/shm' : undefined
  } catch {
    return undefined // not on Linux
  }
}

/**
 * Removes a folder in which processes that lost their parent may still write: again and again, until it has stayed away
 * for `quiet` (ms).
 * @param {string} folder
 * @param {number} quiet
 */
export async function sweep(folder, quiet) {
  for (let gone = 0; ; gone = fs.existsSync(folder) ? 0 : gone + 200) {
    try {
      fs.rmSync(folder, { recursive: true, force: true })
      if (gone >= quiet) return
    } catch {} // somebody wrote there meanwhile
    await sleep(200)
  }
}
