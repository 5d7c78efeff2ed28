// @ts-check
import fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

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
