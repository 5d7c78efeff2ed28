-- Test: cron.alter_job changes the command and nothing else; a missing job is an error
begin;
select plan(3);
do $$ begin perform cron.schedule(job_name := 'pgtap_job', schedule := '* * * * *', command := 'select 1'); end $$;
create temporary table before as select * from cron.job where jobname = 'pgtap_job';
do $$ begin perform cron.alter_job(job_id := jobid, command := 'select 2') from before; end $$;
select results_eq(
  $$select jobid, schedule, command, database, username, active from cron.job where jobname = 'pgtap_job'$$,
  $$select jobid, schedule, 'select 2', database, username, active from before$$,
  'only the command is new');
select throws_ok($$select cron.alter_job(job_id := 0, command := 'select 1')$$, null, null, 'alter_job of a missing job raises an error');
select throws_ok($$select cron.unschedule('pgtap_nobody')$$, null, null, 'unschedule of a missing job raises an error');
select * from finish();
rollback;
