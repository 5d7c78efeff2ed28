/** What doctor looks at. Reads only. */

import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { isLocal, place } from './database.ts'
import { nextTime } from './jobs.ts'
import { claims, describe, kind, problem } from './keys.ts'
import { historyMigration, jobsMigration, lostAfter, neededTimeout, type WantedJob, wantedJobs } from './template.ts'
import { logNothing, projectOf, readSecret, type SecretName, urlProblem } from './vault.ts'

export type Group = 'database' | 'vault' | 'jobs' | 'runs' | 'responses' | 'leaks'
/** A failure means that a sync did not or will not run authenticated, or that a key is exposed; unseen: no right to look. */
export type Level = 'ok' | 'warning' | 'failure' | 'unseen'

export interface Finding {
  group: Group
  /** Names the check, for programs. */
  check: string
  level: Level
  title: string
  expected?: string
  actual?: string
  /** The statement or command that mends it. */
  mend?: string
}

/** The last runs of one job, newest last. Times are ISO 8601 in GMT. */
export interface JobRuns {
  job: string
  runs: { status: string; at: string | null; reason: string }[]
  lastSuccess: string | null
  lastFailure: { at: string | null; reason: string } | null
}

export interface Report {
  database: string
  findings: Finding[]
  runs: JobRuns[]
}

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const NAMES: SecretName[] = ['service_role_key', 'project_url']

/** What a literal key looks like in SQL text. */
const KEY_SHAPE = String.raw`eyJ[\w-]{10,}(\.[\w-]*){0,2}|sb_secret_[\w-]+`
const BEARER = String.raw`(?i)bearer\s+(?:%s)?(?:'+\s*(?:\|\||,)\s*(?:'+|\$\w*\$))?([^\s'"\\$%<({][^\s'"\\$]{7,})(?=['"\\$])`

const literal = (text: string) => `'${text.replaceAll("'", "''")}'`
const iso = (date: Date | null) => (date ? `${date.toISOString().slice(0, 16)}Z` : null)

interface Patient {
  session: pg.Client
  /** The session's role, quoted as an identifier. */
  role: string
  url: string
  add(group: Group, check: string, level: Level, title: string, more?: Partial<Finding>): void
  /** Rows, or undefined where the role may not look; that is noted under `what` then. */
  see<T extends pg.QueryResultRow>(
    group: Group,
    what: string,
    sql: string,
    values?: unknown[]
  ): Promise<T[] | undefined>
}

/** Examines one database. @throws pg's error where the session ends */
export async function examine(session: pg.Client, url: string): Promise<Report> {
  const findings: Finding[] = []
  const unseen = new Set<string>()
  const { rows } = await session.query('select quote_ident(current_user) as role')
  const role: string = rows[0].role
  const patient: Patient = {
    session,
    role,
    url,
    add: (group, check, level, title, more = {}) => findings.push({ group, check, level, title, ...more }),
    async see(group, what, sql, values) {
      try {
        return (await session.query(sql, values)).rows as never
      } catch (error) {
        if ((error as { code?: string }).code !== '42501') throw error
        if (!unseen.has(what)) cannotSee(group, what, (error as Error).message)
        unseen.add(what)
        return undefined
      }
    }
  }
  /** Without the jobs and their runs nothing can be called healthy; the rest is named as not seen. */
  function cannotSee(group: Group, what: string, why: string) {
    if (!what.startsWith('cron.')) patient.add(group, 'rights', 'unseen', what, { actual: why })
    else
      patient.add(group, 'rights', 'failure', `${what} cannot be seen: nothing can be said of the jobs`, {
        actual: why,
        mend: `grant usage on schema cron to ${role};`
      })
  }
  await logNothing(session, 'session')
  const extensions = await checkDatabase(patient)
  const key = extensions.has('supabase_vault') ? await checkVault(patient) : undefined
  const runs: JobRuns[] = []
  if (extensions.has('pg_cron')) {
    const wanted = await wantedJobs(session)
    const hidden = await session.query("select row_security_active('cron.job') as yes").catch(() => ({ rows: [] }))
    if (hidden.rows[0]?.yes && role !== 'postgres')
      patient.add('jobs', 'rights', 'failure', "other roles' jobs cannot be seen: row security hides them", {
        mend: `alter role ${role} bypassrls;`
      })
    else {
      const jobs = await seeJobs(patient)
      if (jobs) checkJobs(patient, wanted, jobs)
      for (const { name } of wanted) {
        const job = ours(jobs ?? [], name)
        if (job) await checkRuns(patient, name, job, runs)
      }
    }
    await checkHistory(patient)
  }
  if (extensions.has('pg_net')) await checkResponses(patient, extensions.has('pg_cron'))
  await checkLeaks(patient, key, extensions)
  return JSON.parse(JSON.stringify({ database: place(url), findings, runs }), (_name, value) =>
    typeof value === 'string' ? redact(value, key) : value
  )
}

/** Error messages and commands are quoted in a report: whatever in them is a key, or looks like one, is taken out. */
function redact(text: string, key: string | undefined): string {
  return (key ? text.replaceAll(key, '[key]') : text)
    .replace(new RegExp(KEY_SHAPE, 'g'), '[key]')
    .replace(/(bearer\s+)[^\s'"\\]{8,}/gi, '$1[key]')
}

async function checkDatabase({ session, role, add, see }: Patient): Promise<Set<string>> {
  const { rows } = await session.query('show server_version')
  add('database', 'version', 'ok', `PostgreSQL ${rows[0].server_version.split(' ')[0]}, as ${role}`)

  const create: Record<string, string> = {
    pg_cron: 'create extension if not exists pg_cron;',
    pg_net: 'create extension if not exists pg_net with schema extensions;',
    supabase_vault: 'create extension if not exists supabase_vault;'
  }
  const { rows: found } = await session.query<{ name: string; version: string }>(
    'select extname as name, extversion as version from pg_extension where extname = any($1)',
    [Object.keys(create)]
  )
  const missing = Object.keys(create).filter((name) => !found.some((extension) => extension.name === name))
  for (const name of missing)
    add('database', 'extension', 'failure', `${name} is not installed`, {
      mend: `${create[name]} -- then the migration, ${jobsMigration()}`
    })
  if (found.length)
    add('database', 'extension', 'ok', found.map(({ name, version }) => `${name} ${version}`).join(', '))
  const extensions = new Set(found.map(({ name }) => name))

  const alive = async (like: string) =>
    (
      await session.query(
        'select from pg_stat_activity where application_name like $1 and datname = current_database()',
        [like]
      )
    ).rowCount
  const { rows: rights } = await session.query(`select pg_has_role('pg_read_all_stats', 'usage') as yes`)
  const workers: [string, string, string, string][] = [
    [
      'pg_cron',
      'launcher',
      'pg_cron scheduler',
      'restart the database: Dashboard > Project Settings > General > Restart project'
    ],
    [
      'pg_net',
      'worker',
      'pg_net %',
      'select net.worker_restart(); -- and where that does not help, restart the database'
    ]
  ]
  if (!rights[0].yes)
    add('database', 'rights', 'unseen', 'the workers of pg_cron and pg_net', {
      actual: 'the role is not in pg_read_all_stats'
    })
  else {
    const wanted = workers.filter(([extension]) => extensions.has(extension))
    const dead = async () => {
      const found: typeof wanted = []
      for (const worker of wanted) if (!(await alive(worker[2]))) found.push(worker)
      return found
    }
    // They are away for about a second when they restart.
    for (let tries = 0; tries < 5 && (await dead()).length; tries++) await sleep(500)
    const gone = await dead()
    for (const worker of wanted) {
      const [extension, check, , mend] = worker
      if (!gone.includes(worker)) add('database', check, 'ok', `${extension}'s ${check} is running`)
      else add('database', check, 'failure', `${extension}'s ${check} is not running`, { mend })
    }
  }

  const { rows: settings } = await session.query(
    `select s.setting as readonly, s.source,
       (select setting::int from pg_settings where name = 'statement_timeout') as timeout,
       quote_ident(current_database()) as quoted
     from pg_settings as s where name = 'default_transaction_read_only'`
  )
  const { readonly, source, quoted, timeout } = settings[0]
  // A session that was asked to be read-only says nothing of the jobs'.
  const what = source === 'user' ? `role ${role}` : `database ${quoted}`
  const how =
    source === 'configuration file' ? 'set default_transaction_read_only = off' : 'reset default_transaction_read_only'
  if (readonly === 'on' && source !== 'client' && (source !== 'user' || role === 'postgres'))
    add('database', 'read-only', 'failure', 'the database is read-only: no job runs', {
      expected: 'default_transaction_read_only is off (Supabase turns it on when the disk is full)',
      actual: 'on',
      mend: `begin read write; alter ${what} ${how}; commit;`
    })
  const jobs = extensions.has('pg_cron')
    ? await see<{ command: string }>('jobs', 'cron.job', 'select command from cron.job where username = current_user')
    : []
  const needed = Math.max(0, ...(jobs ?? []).map(({ command }) => neededTimeout(command)))
  if (timeout > 0 && timeout < needed * 1000)
    add('database', 'statement_timeout', 'warning', 'statement_timeout ends a run before it gives up', {
      expected: `0, or ${needed} s or more`,
      actual: `${timeout / 1000} s`,
      mend: `alter role ${role} in database ${quoted} set statement_timeout = '${needed}s';`
    })
  return extensions
}

const fillStatement = (name: SecretName) =>
  `select vault.update_secret(id, '<value>') from vault.secrets where name = ${literal(name)};`

/** @returns the present key, where there is one and the role may see it */
async function checkVault({ session, url, add, see }: Patient): Promise<string | undefined> {
  if (!(await see('vault', 'Vault', 'select from vault.decrypted_secrets where false'))) return undefined
  const values: Partial<Record<SecretName, string>> = {}
  for (const name of NAMES) {
    const value = await readSecret(session, name)
    const fill = fillStatement(name)
    const create = `select vault.update_secret(vault.create_secret('', ${literal(name)}), '<value>');`
    const remove = `delete from vault.secrets where name = ${literal(name)};`
    const wrong = typeof value === 'string' && (name === 'project_url' ? urlProblem(value) : problem(value))
    const fail = (what: string, mend: string) =>
      add('vault', name, 'failure', `Vault secret "${name}" ${what}`, { mend })
    if (value === undefined) fail('is missing', create)
    else if (value === null)
      fail('cannot be decrypted: somebody wrote to vault.secrets directly', `${remove} ${create}`)
    else if (value === '') fail('is empty', fill)
    else if (wrong) fail(`is malformed: ${wrong}`, fill)
    else {
      values[name] = value
      add('vault', name, 'ok', `${name}: ${name === 'project_url' ? value : describe(value)}`)
    }
  }
  const key = values.service_role_key
  const projectUrl = values.project_url
  const project = projectOf(projectUrl)
  const mendUrl = fillStatement('project_url')
  if (project && isLocal(url))
    add(
      'vault',
      'production',
      'warning',
      "a local database's project_url is a hosted project: its jobs call that project",
      {
        actual: projectUrl ?? '',
        mend: `${mendUrl} -- or npm run seed`
      }
    )
  const { hostname, username } = new URL(url)
  const ref = /^db\.([a-z0-9]{20})\.supabase\.co$/.exec(hostname)?.[1] ?? /^[\w-]+\.([a-z0-9]{20})$/.exec(username)?.[1]
  if (key) checkKey(key, project ?? ref, add)
  if (project && ref && project !== ref)
    add('vault', 'project', 'failure', 'project_url is another project than this database', {
      expected: `https://${ref}.supabase.co`,
      actual: projectUrl ?? '',
      mend: mendUrl
    })
  return key
}

function checkKey(key: string, project: string | undefined, add: Patient['add']): void {
  const { exp, ref } = claims(key) ?? {}
  const mend = 'npm run rotate'
  if (exp !== undefined && exp * 1000 < Date.now() + 30 * DAY) {
    const expired = exp * 1000 < Date.now()
    const on = new Date(exp * 1000).toISOString().slice(0, 10)
    add('vault', 'expiry', expired ? 'failure' : 'warning', `the key ${expired ? 'expired' : 'expires'} on ${on}`, {
      mend
    })
  }
  if (ref && project && ref !== project)
    add('vault', 'project', 'failure', 'the key is of another project', {
      expected: project,
      actual: ref,
      mend
    })
  if (kind(key) === 'legacy service_role')
    add('vault', 'legacy', 'warning', 'the key is a legacy key: Supabase deprecates them by the end of 2026', {
      mend: `${mend} # with a secret key, once the functions take it`
    })
}

interface CronJob {
  jobid: string
  jobname: string | null
  schedule: string
  command: string
  database: string
  username: string
  active: boolean
  here: boolean
  literal: boolean
  functions: boolean
}

const seeJobs = ({ see }: Patient): Promise<CronJob[] | undefined> =>
  see<CronJob>(
    'jobs',
    'cron.job',
    `select job.*, database = current_database() as here, command ~ $1 or command ~ $2 as literal,
       command ~ '/functions/v1/|functions\\.supabase' as functions
     from cron.job order by jobid`,
    [KEY_SHAPE, BEARER]
  )

/** The job of a name that the migration looks after: the one that postgres owns, else the first. */
function ours(jobs: CronJob[], name: string): CronJob | undefined {
  const named = jobs.filter((job) => job.jobname === name)
  return named.find((job) => job.username === 'postgres') ?? named[0]
}

function checkJobs({ add }: Patient, wanted: WantedJob[], jobs: CronJob[]): void {
  const again = `run the migration again: ${jobsMigration()}`
  for (const { name, schedule, command } of wanted) {
    const job = ours(jobs, name)
    if (!job) {
      add('jobs', 'missing', 'failure', `there is no job ${name}`, { mend: again })
      continue
    }
    let fine = true
    const fault = (check: string, level: Level, title: string, more: Partial<Finding>) => {
      fine = false
      add('jobs', check, level, title, more)
    }
    for (const twin of jobs.filter((one) => one.jobname === name && one.username !== 'postgres'))
      fault(
        'twin',
        'failure',
        `role ${twin.username} has ${twin === job ? 'the' : 'a second'} job ${name} (${twin.jobid})`,
        {
          expected: 'one job of that name, owned by postgres, which may read Vault',
          mend:
            twin.username === 'supabase_admin'
              ? 'ask Supabase support to unschedule it'
              : `grant "${twin.username}" to postgres; set role "${twin.username}"; select cron.unschedule(${literal(name)}); reset role;${twin === job ? ` -- then ${again}` : ''}`
        }
      )
    if (job.literal)
      fault('literal', 'failure', `the command of ${name} carries a literal key`, {
        mend: `${again}; then revoke that key`
      })
    else if (job.command !== command)
      fault('command', 'failure', `the command of ${name} is not the migration's`, {
        ...difference(command, job.command),
        mend: again
      })
    if (!job.active)
      fault('paused', 'failure', `${name} is paused`, {
        mend: `select cron.alter_job(job_id := ${job.jobid}, active := true);`
      })
    if (!job.here)
      fault('database', 'failure', `${name} runs in another database`, {
        actual: job.database,
        mend: `select cron.alter_job(job_id := ${job.jobid}, database := current_database());`
      })
    if (job.schedule !== schedule)
      fault('schedule', 'warning', `the schedule of ${name} was changed`, {
        expected: schedule,
        actual: job.schedule,
        mend: `select cron.alter_job(job_id := ${job.jobid}, schedule := ${literal(schedule)});`
      })
    if (fine) add('jobs', 'job', 'ok', `${name} (${job.jobid}): ${job.schedule}, active, the migration's command`)
  }
  for (const job of jobs)
    if (job.literal && !wanted.some(({ name }) => name === job.jobname))
      add(
        'jobs',
        'foreign',
        'warning',
        `job ${job.jobid} (${job.jobname ?? 'without a name'}) carries a literal key${job.functions ? ' to an edge function' : ''}`,
        {
          mend: 'read the key from Vault in its command, then revoke the literal one'
        }
      )
}

/** The first line in which two commands differ; what stands in quotes in the actual one may be a key. */
function difference(expected: string, actual: string): Pick<Finding, 'expected' | 'actual'> {
  const [want, have] = [expected.split('\n'), actual.split('\n')]
  const at = want.findIndex((line, index) => line !== have[index])
  const show = (line: string | undefined) => (line === undefined ? '(nothing)' : line.trim().slice(0, 120))
  const line = at < 0 ? want.length : at
  return { expected: show(want[line]), actual: `${show(have[line]).replace(/'[^']*'?/g, "'…'")} (line ${line + 1})` }
}

async function checkRuns({ add, see }: Patient, name: string, job: CronJob, report: JobRuns[]): Promise<void> {
  interface Row {
    runid: string
    status: string
    start: Date | null
    reason: string | null
    stuck: boolean
  }
  const lost = lostAfter(job.command)
  const runs = await see<Row>(
    'runs',
    'cron.job_run_details',
    `select runid, status, start_time as start, split_part(return_message, E'\\n', 1) as reason,
       status not in ('succeeded', 'failed') and coalesce(start_time, '-infinity') < now() - $2 * interval '1 second' as stuck
     from cron.job_run_details where jobid = $1 order by runid desc limit 500`,
    [job.jobid, lost]
  )
  if (!runs) return
  const reason = (run: Row) => (run.reason ?? '').replace(/^ERROR: +/, '')
  const ended = runs.filter(({ status }) => status === 'succeeded' || status === 'failed')
  const success = ended.find(({ status }) => status === 'succeeded')
  const failure = ended.find(({ status }) => status === 'failed')
  report.push({
    job: name,
    runs: runs
      .slice(0, 20)
      .reverse()
      .map((run) => ({ status: run.status, at: iso(run.start), reason: reason(run) })),
    lastSuccess: iso(success?.start ?? null),
    lastFailure: failure ? { at: iso(failure.start), reason: reason(failure) } : null
  })

  const stuck = runs.filter((run) => run.stuck)
  if (stuck.length)
    add(
      'runs',
      'unfinished',
      'warning',
      `${name}: ${stuck.length === 1 ? 'a run has' : `${stuck.length} runs have`} not ended for over ${lost} s`,
      {
        actual: [...new Set(stuck.map(({ status }) => status))].join(', '),
        mend: `update cron.job_run_details set status = 'failed', return_message = 'marked by hand', end_time = now() where jobid = ${job.jobid} and status not in ('succeeded', 'failed') and coalesce(start_time, '-infinity') < now() - interval '${lost} s';`
      }
    )

  const [last] = ended
  const now = Date.now()
  const due = nextTime(job.schedule, now)
  const wait = `wait for ${due ? iso(new Date(due)) : 'its time'}, or see the verdict now: npm run run-job -- ${name}`
  if (due === undefined)
    add('runs', 'schedule', 'warning', `the schedule of ${name} is not understood: whether it is late cannot be told`, {
      actual: job.schedule
    })
  // Two times at which it should have succeeded have passed since it did, and three minutes.
  const since = (success?.start ?? runs.at(-1)?.start)?.getTime()
  const first = since === undefined ? undefined : nextTime(job.schedule, since)
  const second = first === undefined ? undefined : nextTime(job.schedule, first)
  const overdue = second !== undefined && now > second + 3 * MINUTE && job.active
  const isRefused = last?.status === 'failed' && /: HTTP 40[13]\b/.test(reason(last))
  const rotated = "select from vault.secrets where name = 'service_role_key' and updated_at > $1"
  if (isRefused && (await see('vault', 'Vault', rotated, [last.start]))?.length)
    add('runs', 'rotated', 'warning', `${name}: the last run was refused, with the key before this one`, {
      actual: reason(last),
      mend: wait
    })
  else if (isRefused)
    add('runs', 'refused', 'failure', `${name}: the last run was refused`, {
      actual: reason(last),
      mend: 'npm run rotate'
    })
  else if (overdue) {
    const ending = last
      ? `${iso(last.start)}: ${last.status} ${last.status === 'failed' ? reason(last) : ''}`
      : 'has not ended'
    add('runs', 'overdue', 'failure', `${name} has missed two successes`, {
      expected: `a success by ${iso(new Date(second))}`,
      actual: `last success ${iso(success?.start ?? null) ?? 'never'}; last run ${ending}`.trim(),
      mend:
        last?.status === 'failed'
          ? `npm run run-job -- ${name} # and mend what it says`
          : 'see whether pg_cron is running'
    })
  } else if (!last) {
    if (job.active && !stuck.length) add('runs', 'never', 'warning', `${name} has not run yet`, { mend: wait })
  } else if (last.status === 'failed')
    add('runs', 'failed', 'warning', `${name}: the last run failed`, {
      actual: reason(last),
      mend: `npm run run-job -- ${name}`
    })
  else {
    const recent = ended.filter((run) => run.status === 'failed' && now - (run.start?.getTime() ?? 0) < DAY)
    const reasons = [...new Set(recent.map(reason))].map(
      (text) => `${recent.filter((run) => reason(run) === text).length} × ${text}`
    )
    if (recent.length)
      add('runs', 'recovered', 'warning', `${name} runs, but failed in the last day`, {
        actual: reasons.join('; ')
      })
    else add('runs', 'success', 'ok', `${name}: last success ${iso(last.start)}`)
  }
}

async function checkHistory({ add, see }: Patient): Promise<void> {
  const [size] =
    (await see<{ bytes: string; pretty: string }>(
      'runs',
      'cron.job_run_details',
      `select pg_total_relation_size('cron.job_run_details') as bytes, pg_size_pretty(pg_total_relation_size('cron.job_run_details')) as pretty`
    )) ?? []
  if (!size) return
  if (Number(size.bytes) < 100 * 1024 * 1024) add('runs', 'history', 'ok', `the history takes ${size.pretty}`)
  else
    add('runs', 'history', 'warning', 'the history is large: pg_cron never purges it', {
      expected: 'under 100 MB',
      actual: size.pretty,
      mend: `select cron.schedule('purge-cron-history', '30 3 * * *', $$delete from cron.job_run_details where coalesce(end_time, start_time) < now() - interval '30 days'$$);`
    })
}

async function checkResponses({ add, see }: Patient, cron: boolean): Promise<void> {
  const rows = await see<{ answer: string; n: number }>(
    'responses',
    'net._http_response',
    `select case when timed_out then 'timeout' else coalesce(status_code::text, 'no connection') end as answer, count(*)::int as n
     from net._http_response where created > now() - interval '6 hours' group by 1 order by 2 desc`
  )
  if (!rows) return
  add(
    'responses',
    'answers',
    'ok',
    rows.length
      ? `last six hours: ${rows.map(({ answer, n }) => `${n} × ${answer}`).join(', ')}`
      : 'none in the last six hours'
  )
  const refused = rows.filter(({ answer }) => /^40[13]$/.test(answer)).reduce((sum, { n }) => sum + n, 0)
  const known = cron
    ? await see<{ n: number }>(
        'runs',
        'cron.job_run_details',
        `select count(*)::int as n from cron.job_run_details where status = 'failed' and return_message ~ ': HTTP 40[13]'
           and start_time > now() - interval '6 hours' - interval '3 minutes'`
      )
    : []
  const hidden = refused - (known?.[0]?.n ?? 0)
  if (hidden > 0 && known)
    add('responses', 'hidden', 'warning', `${hidden} answers of 401 or 403 that no failed run accounts for`, {
      actual:
        'a trial by rotate or run-job, or another caller of pg_net (a job, a trigger, a webhook) whose key is refused',
      mend: `select jobid, jobname from cron.job where command ~ 'http_post'; -- and Dashboard > Integrations > Webhooks`
    })
}

/** Where SQL text is kept. `place` names a thing, `text` is what may hold a key. */
const PLACES: { what: string; needs: string; sql: string; mend: string }[] = [
  {
    what: 'job',
    needs: 'cron.job',
    sql: `select 'job ' || jobid || coalesce(' (' || jobname || ')', '') as place, command as text from cron.job`,
    mend: 'read it from Vault in that command, then npm run rotate'
  },
  {
    what: 'history',
    needs: 'cron.job_run_details',
    // Each text once: runs repeat, and a history can have a million of them.
    sql: `select 'cron.job_run_details' as place, command as text from cron.job_run_details group by command
      union all select 'cron.job_run_details', return_message from cron.job_run_details group by return_message`,
    mend: `update cron.job_run_details as run set command = replace(command, key, '[key]'), return_message = replace(return_message, key, '[key]') from (select decrypted_secret as key from vault.decrypted_secrets where name = 'service_role_key') as vault where status in ('succeeded', 'failed') and strpos(concat_ws(' ', command, return_message), key) > 0;`
  },
  {
    what: 'migrations',
    needs: 'supabase_migrations.schema_migrations',
    sql: `select 'migration ' || version as place, array_to_string(statements, ' ') as text from supabase_migrations.schema_migrations`,
    mend: 'npm run rotate: it is in your repository, too'
  },
  {
    what: 'functions',
    needs: 'pg_proc',
    sql: `select 'function ' || oid::regprocedure as place, coalesce(pg_get_function_sqlbody(oid), prosrc) as text from pg_proc where pronamespace <> 'pg_catalog'::regnamespace`,
    mend: 'read it from Vault in that function, then npm run rotate'
  },
  {
    what: 'triggers',
    needs: 'pg_trigger',
    sql: `select 'trigger ' || tgname || ' on ' || tgrelid::regclass as place, encode(tgargs, 'escape') as text from pg_trigger`,
    mend: 'a webhook of the dashboard keeps its headers there: replace it by a function that reads Vault, then npm run rotate'
  },
  {
    what: 'settings',
    needs: 'pg_db_role_setting',
    sql: `select 'a setting of a role or database' as place, setconfig::text as text from pg_db_role_setting
      where setdatabase in (0, (select oid from pg_database where datname = current_database()))`,
    mend: 'alter database (or role) … reset that setting, then npm run rotate'
  },
  {
    what: 'statistics',
    needs: 'extensions.pg_stat_statements',
    sql: `select 'pg_stat_statements' as place, query as text from extensions.pg_stat_statements
      where dbid = (select oid from pg_database where datname = current_database())`,
    mend: 'select extensions.pg_stat_statements_reset();'
  }
]

/** Key-like literals anywhere, and the present key itself anywhere but in Vault. */
async function checkLeaks(
  { session, add, see }: Patient,
  key: string | undefined,
  extensions: Set<string>
): Promise<void> {
  const searched: string[] = []
  for (const { what, needs, sql, mend } of PLACES) {
    const { rows: there } = await session.query(
      `select exists (select from pg_class join pg_namespace as n on n.oid = relnamespace where n.nspname || '.' || relname in ($1, 'pg_catalog.' || $1)) as yes`,
      [needs]
    )
    if (!there[0].yes) continue
    const rows = await see<{ place: string; present: boolean; n: number }>(
      'leaks',
      needs,
      `select place, present, count(*)::int as n from (
         select place, coalesce(strpos(text, $1) > 0, false) as present from (${sql}) as texts
         where strpos(text, $1) > 0
           or (text like '%eyJ%' or text like '%sb\\_secret\\_%') and text ~ $2
           or (text like '%earer%' or text like '%EARER%') and text ~ $3) as found
       group by place, present order by present desc, place limit 20`,
      [key ?? null, KEY_SHAPE, BEARER]
    )
    if (!rows) continue
    searched.push(what)
    for (const { place, present, n } of rows) {
      const where = n > 1 ? `${place} (${n} texts)` : place
      if (present) add('leaks', 'present', 'failure', `the present key stands in ${where}`, { mend })
      else if (what !== 'job')
        add('leaks', 'literal', 'warning', `something that looks like a key stands in ${where}`, {
          ...(what === 'history'
            ? { mend: `run the migration again: ${historyMigration()}; then revoke that key` }
            : {})
        })
    }
  }
  if (key === undefined && extensions.has('supabase_vault'))
    add('leaks', 'rights', 'unseen', 'the present key elsewhere', { actual: 'the key in Vault is not known' })
  add('leaks', 'searched', 'ok', `searched: ${searched.join(', ')}`)
}
