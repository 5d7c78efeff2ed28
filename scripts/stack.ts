/** `npm run stack`: an embedded Supabase, until Ctrl-C or for one command. */

import { spawn } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'
import { Failure, main } from './lib/terminal.ts'
import { type EngineName, engineNamed } from './stack/engines.ts'
import { endWithNpm } from './stack/lifetime.ts'
import { startStack } from './stack/stack.ts'

const HELP = `
Usage: npm run stack                              an embedded Supabase until Ctrl-C; prints its variables
       npm run -s stack -- [options] <command …>  runs a command on a fresh one, and exits as the command does

A throw-away PostgreSQL from npm with Supabase's roles, pgTAP, stand-ins of pg_cron, pg_net, Vault and the two edge
functions, and the migrations applied by the Supabase CLI. Nothing is left behind.

Options:
  --empty          without the migrations
  --engine <name>  npm: PostgreSQL 18 from npm (the default); debian: PostgreSQL 17 of Debian 13 with the real
                   pg_cron 1.6; needs postgresql-17, postgresql-17-cron and postgresql-17-pgtap
  --help           this text

Environment of the command:
  DATABASE_URL        the database as postgres, which runs the migrations
  DATABASE_ADMIN_URL  the database as supabase_admin, the superuser
  SERVER_LOG          the file of the server's log
  PROJECT_URL         the edge functions; POST {"key": "…"} to $PROJECT_URL/stand-in gives them a new key,
                      {"function": "odoo-crm-sync", "status": 500, "delay": 2000} makes one fail, or slow (ms)
  SERVICE_ROLE_KEY    the key the functions take, made for this stack

Example:
  npm run -s stack -- sh -c 'npm run seed && npm run run-job -- odoo-crm-sync-incremental'
`

async function stack(): Promise<number> {
  endWithNpm()
  const args = process.argv.slice(2)
  let empty = false
  let engine: EngineName = 'npm'
  while (args[0]?.startsWith('-')) {
    const option = args.shift()
    if (option === '--') break
    else if (option === '--empty') empty = true
    else if (option === '--engine') engine = engineNamed(args.shift())
    else if (option === '--help' || option === '-h') {
      process.stdout.write(`${HELP.trim()}\n`)
      return 0
    } else throw new Failure(`Unknown option '${option}'\n\n${HELP.trim()}`, 2)
  }

  const stack = await startStack({ empty, engine })
  const variables = {
    DATABASE_URL: stack.url,
    DATABASE_ADMIN_URL: stack.adminUrl,
    SERVER_LOG: path.join(stack.server.dir, 'server.log'),
    PROJECT_URL: stack.functions.url,
    SERVICE_ROLE_KEY: stack.functions.key
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  try {
    const [program, ...rest] = args
    if (program === undefined) {
      const told = new Promise((resolve) => {
        for (const signal of signals) process.once(signal, resolve)
      })
      for (const [name, value] of Object.entries(variables)) process.stdout.write(`${name}="${value}"\n`)
      await told
      return 0
    }
    const command = spawn(program, rest, { stdio: 'inherit', env: { ...process.env, ...variables } })
    for (const signal of signals) process.on(signal, () => command.kill(signal))
    process.on('exit', () => command.kill())
    return await new Promise((resolve, reject) => {
      command.once('error', (error: NodeJS.ErrnoException) =>
        reject(error.code === 'ENOENT' ? new Failure(`${program}: command not found`, 2) : error)
      )
      command.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? os.constants.signals[signal] : 0)))
    })
  } finally {
    await stack.stop()
  }
}

main(stack)
