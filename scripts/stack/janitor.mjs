// @ts-check
// Makes a temporary folder, says its name, and takes it away when its standard input closes: whatever ends the process
// that started it, and however long its children still write there.
import fs from 'node:fs'
import { sweep, temporary } from './temporary.mjs'

const folder = temporary('supabase-test-')
fs.chmodSync(folder, 0o711) // the server runs as another user where this one is root
process.stdout.on('error', () => {}).write(`${folder}\n`)
process.stdin.resume().on('close', () => sweep(folder, 600))
