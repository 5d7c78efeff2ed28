-- Test: each run of these jobs that has ended holds a command made from the template, or a comment in place of an older command
begin;
select plan(7);
create temporary table made as
  select jobid, command from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
create function pg_temp.runs_with_an_old_command() returns setof bigint language sql as $$
  select runid from cron.job_run_details join made using (jobid)
  where status in ('succeeded', 'failed') and job_run_details.command !~
    '^-- supabase-cron-vault(, template [0-9]+:[^\n]*\ndo \$job\$\ndeclare\n  job constant jsonb := \$line\$| removed [^\n]*$)'
$$;
-- Whether a run with this command and status would be seen.
create function pg_temp.seen(its_command text, its_status text) returns boolean language sql as $$
  delete from cron.job_run_details where runid = -1;
  insert into cron.job_run_details (runid, jobid, command, status) select -1, min(jobid), its_command, its_status from made;
  select -1 in (select pg_temp.runs_with_an_old_command());
$$;
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty('select pg_temp.runs_with_an_old_command()', 'no run holds an old command');
select ok(pg_temp.seen('select net.http_post(...)', 'succeeded'), 'an old command of a succeeded run would be seen');
select ok(pg_temp.seen(e'-- supabase-cron-vault removed the text\nselect net.http_post(...)', 'failed'),
  'an old command below the comment would be seen');
select ok(not pg_temp.seen('select net.http_post(...)', 'running'), 'a run in progress is not looked at');
select ok(not pg_temp.seen('-- supabase-cron-vault removed the text of this command of f on 2026-11-24', 'failed'),
  'the comment alone is right');
select ok(not pg_temp.seen((select min(command) from made), 'failed'), 'a command made from the template is right');
select * from finish();
rollback;
