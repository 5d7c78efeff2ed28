-- Test: postgres may read, change and delete runs in cron.job_run_details
begin;
select plan(3);
select columns_are('cron', 'job_run_details',
  array['jobid', 'runid', 'job_pid', 'database', 'username', 'command', 'status', 'return_message', 'start_time', 'end_time'],
  'a run has these columns');
select lives_ok($$update cron.job_run_details set command = command where runid = -1$$, 'update is allowed');
select lives_ok($$delete from cron.job_run_details where runid = -1$$, 'delete is allowed');
select * from finish();
rollback;
