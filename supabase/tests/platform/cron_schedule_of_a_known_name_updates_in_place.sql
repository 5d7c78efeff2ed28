-- Test: cron.schedule with the name of a job of the same role keeps the jobid and the active flag
begin;
select plan(2);
do $$ begin perform cron.schedule(job_name := 'pgtap_job', schedule := '* * * * *', command := 'select 1'); end $$;
create temporary table before as select * from cron.job where jobname = 'pgtap_job';
do $$ begin
  perform cron.alter_job(job_id := jobid, active := false) from before;
  perform cron.schedule(job_name := 'pgtap_job', schedule := '5 * * * *', command := 'select 2');
end $$;
select results_eq(
  $$select jobid, schedule, command, active from cron.job where jobname = 'pgtap_job'$$,
  $$select jobid, '5 * * * *', 'select 2', false from before$$,
  'jobid and active stay, schedule and command are new');
select throws_ok(
  $$insert into cron.job (schedule, command, jobname) values ('* * * * *', 'select 1', 'x')$$, '42501', null,
  'cron.job is changed through the functions only');
select * from finish();
rollback;
