-- Test: a role needs only usage on schema cron and bypassrls to read every job and every run, because PUBLIC has the other grants
begin;
select plan(6);
-- service_role bypasses row security. On PostgreSQL 15 only a superuser can create another role that does.
grant usage on schema cron to service_role;
do $$ begin perform cron.schedule('pgtap_job', '* * * * *', 'select 1'); end $$;
insert into cron.job_run_details (runid, jobid, username, command, status) values (-1, 0, 'postgres', 'select 1', 'succeeded');
create function pg_temp.jobs() returns bigint language sql set role to service_role as $$
  select count(*) from cron.job where jobname = 'pgtap_job';
$$;
create function pg_temp.runs() returns bigint language sql set role to service_role as $$
  select count(*) from cron.job_run_details where runid = -1;
$$;
select ok(has_table_privilege('public', 'cron.job', 'select'), 'PUBLIC may read jobs');
select ok(has_table_privilege('public', 'cron.job_run_details', 'select'), 'PUBLIC may read runs');
select ok(has_table_privilege('public', 'cron.job_run_details', 'delete'), 'PUBLIC may delete runs');
select ok(not has_table_privilege('public', 'cron.job_run_details', 'update'), 'PUBLIC may not change runs');
select is(pg_temp.jobs(), 1::bigint, 'service_role reads a job of postgres');
select is(pg_temp.runs(), 1::bigint, 'service_role reads a run of postgres');
select * from finish();
rollback;
