/** The pgTAP files are checked here: each passes on a migrated database, changes nothing, and fails on a broken one. */

import fs from 'node:fs'
import pg from 'pg'
import { beforeAll, describe, expect, test } from 'vitest'
import { script, type TestProject, testProject } from '../stack/testing.ts'
import { files, read, runFile, runPgtap } from './pgtap.ts'

const command = (from: string, to: string) =>
  `update cron.job set command = replace(command, ${pg.escapeLiteral(from)}, ${pg.escapeLiteral(to)})`

/**
 * For each file, what breaks the thing it tests: SQL run by the superuser, or, where no database is broken that way, an edit
 * of the file.
 */
const breaks: Record<string, string | [string, string]> = {
  'jobs/commands_come_from_one_template.sql': `update cron.job set command = command || ' ' where jobname like '%hourly'`,
  'jobs/commands_empty_search_path_after_each_commit.sql': command("commit; set local search_path = '';", 'commit;'),
  'jobs/commands_hold_no_key.sql': command("'Bearer ' || key", "'Bearer 0123456789abcdef'"),
  'jobs/commands_read_both_secrets_from_vault.sql': command('vault.decrypted_secrets', 'public.keys'),
  'jobs/history_holds_no_old_command.sql': `insert into cron.job_run_details (jobid, command, status)
    select jobid, 'select 1', 'failed' from cron.job`,
  'jobs/the_line_holds_the_fields_of_the_job.sql': command('"answer_within": 50', '"answer_within": 151'),
  'platform/a_do_block_commits_only_at_the_top.sql': ['begin commit; end', 'begin end'],
  'platform/cron_alter_job_changes_what_it_is_given.sql': `create or replace function cron._alter_job(caller text, job_id bigint,
    new_schedule text, new_command text, new_database text, new_active boolean) returns void language sql as ''`,
  'platform/cron_cannot_be_created_again_after_a_grant.sql': 'drop event trigger after_create_pg_cron',
  'platform/cron_history_can_be_redacted.sql': 'revoke update on cron.job_run_details from postgres',
  'platform/cron_is_readable_with_usage_and_bypassrls.sql': 'revoke delete on cron.job_run_details from public',
  'platform/cron_refuses_an_invalid_schedule.sql':
    "create or replace function cron._check_schedule(schedule text) returns void language sql as ''",
  'platform/cron_schedule_of_a_known_name_updates_in_place.sql': `create or replace function cron._schedule(caller text, job_name text,
    schedule text, command text) returns bigint language sql security definer as $$
    delete from cron.job where jobname = job_name;
    insert into cron.job (schedule, command, username, jobname) values (schedule, command, caller, job_name) returning jobid $$`,
  'platform/migrations_run_without_superuser.sql': ["rolname = 'postgres'", "rolname = 'supabase_admin'"],
  'platform/names_in_public_may_come_before_pg_catalog.sql': ["value_under('public'", "value_under(''"],
  'platform/net_http_post_queues_what_it_is_given.sql': `create function net.drop_headers() returns trigger language plpgsql
    as $$ begin new.headers := '{}'; return new; end $$;
    create trigger broken before insert on net.http_request_queue for each row execute function net.drop_headers()`,
  'platform/net_http_post_without_a_url_shows_the_headers.sql':
    'alter table net.http_request_queue alter url drop not null',
  'platform/net_requests_are_readable_by_every_role.sql': 'revoke select on net._http_response from public',
  'platform/net_responses_are_indexed_on_created.sql': 'drop index net._http_response_created_idx',
  'platform/statement_timeout_outlasts_a_run.sql': `set local statement_timeout = '1min'`,
  'platform/vault_has_one_secret_a_name.sql': 'drop index vault.secrets_name_idx',
  'platform/vault_is_written_through_its_functions_only.sql': 'grant update on vault.secrets to postgres',
  'platform/vault_keeps_a_value_to_the_letter.sql': `create or replace view vault.decrypted_secrets as select id, name, description, secret,
    trim(convert_from(vault._decrypt(decode(secret, 'base64'), id, nonce), 'utf8'), E'\\n') as decrypted_secret, key_id, nonce,
    created_at, updated_at from vault.secrets`,
  'platform/vault_update_of_an_unknown_secret_says_nothing.sql': `create or replace function vault.update_secret(secret_id uuid,
    new_secret text default null, new_name text default null, new_description text default null, new_key_id uuid default null)
    returns void language plpgsql as $$ begin raise 'no such secret'; end $$`,
  'requests/a_bad_key_is_not_sent.sql': command('^[!-~]+$', '^.+$'),
  'requests/a_bad_url_is_not_called.sql': command('[a-z][a-z0-9-]*', '[a-z0-9-]+'),
  'requests/a_good_url_is_called.sql': command('[a-z0-9.-]+\\.internal', 'internal'),
  'requests/a_line_makes_its_request.sql': command("lower(header) = 'bearer'", "header = 'bearer'"),
  'requests/a_rotated_key_is_in_the_next_request.sql': command("'apikey', key", "'apikey', random()"),
  'requests/each_job_sends_its_request.sql': command('answer_within * 1000', '5000'),
  'requests/no_message_holds_the_key.sql': command("else 'malformed' end", 'else bad[2] end'),
  'requests/nothing_in_public_is_called.sql': command("set local search_path = ''", 'null'),
  'requests/without_a_secret_nothing_is_called.sql': command('if bad is not null then', 'if false then'),
  'these_two_jobs/answer_within.sql': command('"answer_within": 50', '"answer_within": 5'),
  'these_two_jobs/one_job_a_name.sql': `select cron.schedule('odoo-crm-sync-incremental', '* * * * *', 'select 1')`,
  'these_two_jobs/schedules.sql': `update cron.job set active = false where jobname like '%hourly'`,
  'these_two_jobs/the_request_of_chatter.sql': command('{"mode": "missing"}', '{"mode": "all"}'),
  'these_two_jobs/the_request_of_crm.sql': command(", 'apikey', key", ''),
  'vault/a_key_is_encrypted_at_rest.sql': `create or replace function vault._encrypt(message text, id uuid, nonce bytea) returns text
    language sql as $$ select message $$;
    create or replace view vault.decrypted_secrets as select id, name, description, secret, secret collate "C" as decrypted_secret, key_id,
    nonce, created_at, updated_at from vault.secrets`,
  'vault/anon_and_authenticated_cannot_read_it.sql':
    'grant usage on schema vault to anon; grant select on vault.decrypted_secrets to anon',
  'vault/each_row_is_there_once.sql': `delete from vault.secrets where name = 'project_url'`
}
describe('a pgTAP file', () => {
  let project: TestProject
  beforeAll(async () => {
    project = await testProject()
    await project.rows('create extension pgtap with schema extensions')
  })

  test('has an entry above, so that each was seen to fail', () => {
    expect(Object.keys(breaks).sort()).toEqual(files())
  })

  test.each(Object.entries(breaks))('%s fails on a broken database', async (file, broken) => {
    // The break goes with the file's own rollback.
    const text = fs.readFileSync(`supabase/tests/${file}`, 'utf8')
    const breaking =
      typeof broken === 'string' ? `begin; ${broken}; set local role postgres; ${text}` : text.replaceAll(...broken)
    const url = typeof broken === 'string' ? project.adminUrl : project.url
    expect((await runFile(url, file, breaking)).failed).toBeGreaterThan(0)
    expect((await runFile(project.url, file)).failed).toBe(0)
  })
})

describe('the suite', () => {
  let project: TestProject
  const state = async () => [
    await project.rows('select * from vault.decrypted_secrets order by name'),
    await project.rows('select * from cron.job order by jobid'),
    await project.rows('select count(*) from cron.job_run_details'),
    await project.rows('select extname from pg_extension order by 1'),
    await project.rows('select id from net.http_request_queue')
  ]
  beforeAll(async () => {
    project = await testProject()
  })

  // With nothing in Vault it is the last step of npm test.
  test('passes and changes nothing where Vault is filled', async () => {
    await project.fill()
    const before = await state()
    const results = await runPgtap(project.url, () => {})
    expect(results.filter((result) => result.failed)).toEqual([])
    expect(await state()).toEqual(before)
  })

  test('fails under npm run test:db where a test fails, and says which', async () => {
    await project.rows(`select cron.alter_job(job_id := jobid, active := false) from cron.job`)
    const { code, out } = await script('test-db', [], { DATABASE_URL: project.url })
    expect(code).toBe(1)
    expect(out).toMatch(/FAIL these_two_jobs\/schedules\.sql[\s\S]*not ok[\s\S]*\n\d+ passed, 1 failed\n$/)
  })

  test.each([
    ['a database that is not migrated', ['--db-url', '%fresh'], 1, /is not migrated: run the migration first/],
    ['a URL without --db-url', ['%fresh'], 2, /unexpected argument .*--db-url/]
  ])('%s is refused', async (_name, args, exit, message) => {
    const fresh = await testProject('fresh')
    const { code, err } = await script(
      'test-db',
      args.map((arg) => arg.replace('%fresh', fresh.url))
    )
    expect({ code, err }).toEqual({ code: exit, err: expect.stringMatching(message) })
  })
})

describe('the reading of TAP', () => {
  test('counts what passed', () => {
    expect(read('f', '1..2\nok 1 - a\nok 2 - b')).toEqual({ file: 'f', passed: 2, failed: 0, complaints: [] })
  })

  test('keeps what pgTAP says of a failure', () => {
    expect(read('f', '1..2\nnot ok 1 - a\n# have: 1\n# want: 2\nok 2 - b')).toMatchObject({
      passed: 1,
      failed: 1,
      complaints: ['not ok 1 - a', '# have: 1', '# want: 2']
    })
  })

  test.each([
    ['fewer tests than planned', '1..2\nok 1', undefined],
    ['more tests than planned', '1..1\nok 1\nok 2', undefined],
    ['no plan', 'ok 1', undefined],
    ['nothing at all', '', undefined],
    ['an error', '1..1\nok 1', new Error('broken')]
  ])('%s is a failure', (_name, output, error) => {
    expect(read('f', output, error).failed).toBeGreaterThan(0)
  })
})
