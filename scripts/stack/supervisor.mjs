// @ts-check
// Owns one throw-away PostgreSQL server: makes its folder, runs initdb and postgres as its own children, and takes
// everything away when its standard input closes. That happens whatever ends the process that started it, SIGKILL
// included, and is why this is a process of its own (in its own session: Ctrl-C in the terminal does not reach it).
// Plain JavaScript, so that it starts in 40 ms.
//
// argv[2]: JSON {bin: folder with initdb and postgres, settings: lines of postgresql.conf ("{dir}" is the folder)}
// stdout:  JSON lines {dir}, {port}, then {error} if anything goes wrong.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sweep, temporary } from './temporary.mjs'

/** @type {{ bin: string, settings: string[] }} */
const config = JSON.parse(process.argv[2] ?? '')
/** @type {import('node:child_process').ChildProcess | undefined} */
let child
let stopping = false
let asked = false

const dir = temporary('supabase-stack-')
const log = path.join(dir, 'server.log')
const data = path.join(dir, 'data')

/** @param {object} message */
const tell = (message) => {
  if (process.stdout.writable) process.stdout.write(`${JSON.stringify(message)}\n`)
}

/** The user the server runs as: PostgreSQL refuses to be root. */
const owner = (() => {
  if (process.getuid?.() !== 0) return {}
  for (const user of ['postgres', 'nobody']) {
    try {
      const id = (/** @type {string} */ flag) => Number(execFileSync('id', [flag, user], { stdio: 'pipe' }))
      return { uid: id('-u'), gid: id('-g') }
    } catch {}
  }
  throw new Error('root cannot run PostgreSQL, and neither user "postgres" nor "nobody" exists: run as another user')
})()

/** @param {string} program @param {string[]} args */
function run(program, args) {
  const out = fs.openSync(log, 'a')
  child = spawn(program, args, { cwd: dir, stdio: ['ignore', out, out], ...owner })
  fs.closeSync(out)
  return child
}

/** @param {import('node:child_process').ChildProcess} process @returns {Promise<number | NodeJS.Signals | null>} */
const ended = (process) =>
  new Promise((resolve, reject) => {
    if (!alive(process)) resolve(process.exitCode ?? process.signalCode)
    process.once('error', reject)
    process.once('exit', (code, signal) => resolve(code ?? signal))
  })

/**
 * The folder to run PostgreSQL from: the package's own, or a copy where the server's user cannot reach that
 * (a checkout below /root) or where npm did not run the package's postinstall, which makes the library links.
 */
function programs() {
  const works = spawnSync(path.join(config.bin, 'postgres'), ['--version'], { cwd: dir, stdio: 'ignore', ...owner })
  if (works.status === 0) return config.bin
  const home = path.dirname(config.bin)
  const copy = path.join(dir, 'native')
  fs.cpSync(home, copy, { recursive: true, verbatimSymlinks: true })
  for (const { source, target } of JSON.parse(fs.readFileSync(path.join(home, 'pg-symlinks.json'), 'utf8'))) {
    const link = path.join(dir, target)
    if (!fs.existsSync(link)) fs.symlinkSync(path.relative(path.dirname(link), path.join(dir, source)), link)
  }
  return path.join(copy, 'bin')
}

/** @returns {Promise<number>} a port that was free a moment ago */
const freePort = () =>
  new Promise((resolve, reject) => {
    const probe = net.createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })

async function start() {
  if (owner.uid !== undefined) fs.chownSync(dir, owner.uid, owner.gid)
  tell({ dir })
  const bin = programs()
  const initdb = run(path.join(bin, 'initdb'), [
    ...['-D', data, '-U', 'supabase_admin', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'],
    ...['--auth-local=trust', '--auth-host=scram-sha-256']
  ])
  if ((await ended(initdb)) !== 0) throw new Error('initdb failed')
  fs.appendFileSync(path.join(data, 'postgresql.conf'), config.settings.join('\n').replaceAll('{dir}', dir))

  let port = await freePort()
  for (let attempt = 1, served = false; !stopping; attempt++) {
    const logged = fs.statSync(log).size
    const postgres = run(path.join(bin, 'postgres'), ['-D', data, '-p', String(port), '-k', dir])
    while (alive(postgres) && !ready(postgres.pid)) await sleep(10)
    if (alive(postgres)) {
      tell({ port })
      served = true
      attempt = 0
    }
    const how = await ended(postgres)
    const said = fs.readFileSync(log, 'utf8').slice(logged)
    const killed = typeof how === 'string' // brought back, as Supabase brings back a server that was killed
    const leaving = /shared memory block .* still in use/.test(said) // by sessions of the one that was killed
    const taken = !served && /could not bind|Address already in use/.test(said)
    if (attempt === 50 || !(killed || leaving || taken))
      throw new Error(served ? `PostgreSQL ended by itself (${how})` : 'PostgreSQL did not start')
    if (taken) port = await freePort()
    await sleep(50)
  }
}

/** @param {import('node:child_process').ChildProcess} process */
const alive = (process) => process.exitCode === null && process.signalCode === null

/** Whether the server with this process id takes connections. @param {number | undefined} pid */
function ready(pid) {
  const file = path.join(data, 'postmaster.pid')
  const lines = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n') : []
  return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
}

/** @param {number} code */
async function stop(code) {
  if (stopping) return
  stopping = true
  if (child && alive(child)) {
    const gone = ended(child)
    child.kill('SIGQUIT') // the data goes away with the folder: no checkpoint needed
    if ((await Promise.race([gone, sleep(8000, 'late')])) === 'late') child.kill('SIGKILL')
    await gone.catch(() => {})
  }
  await sweep(dir, asked ? 0 : 600)
  process.exit(code)
}

// "stop" before the end of the input: whoever started this is alive, and nobody else writes to the folder any more.
process.stdin.once('data', () => {
  asked = true
})
process.stdin.on('close', () => stop(0))
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, () => stop(0))
process.stdout.on('error', () => {})
start().catch((error) => {
  if (stopping) return
  const lines = fs.existsSync(log) ? fs.readFileSync(log, 'utf8').trim().split('\n').slice(-5) : []
  tell({ error: [error.message, ...lines].join('\n  ') })
  stop(1)
})
