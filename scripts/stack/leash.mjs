// @ts-check
// Runs a program, argv[2] with the rest of argv, that must not outlive whoever started this: when standard input closes,
// the program and its children are killed.
import { spawn } from 'node:child_process'

const [program = '', ...args] = process.argv.slice(2)
const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'], detached: true })
const end = () => {
  if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
  process.exit(1)
}
process.stdin.resume().on('close', end)
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, end)
child.on('exit', (code) => process.exit(code ?? 1))
