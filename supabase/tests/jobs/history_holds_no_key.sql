-- Test: no literal key stands in the history of these functions
begin;
select plan(4);
create function pg_temp.runs_with_key() returns setof bigint language sql as $$
  select runid from cron.job_run_details
  where status in ('succeeded', 'failed')
    and (command ~ '[/''](odoo-crm-sync|odoo-chatter-sync)(?![\w-])' or jobid in (
      select jobid from cron.job where jobname in ('odoo-crm-sync-incremental', 'odoo-chatter-sync-hourly')))
    and (concat(command, return_message) ~ 'eyJ[\w-]{10,}|sb_secret_[\w-]+'
      or command ~* 'bearer\s+(''+\s*(\|\||,)\s*''+)?[\w.~+/=-]{8,}[''"\\$]')
$$;
create function pg_temp.plant(key text) returns setof bigint language sql as $$
  delete from cron.job_run_details where runid = -1;
  insert into cron.job_run_details (runid, jobid, command, status) values (-1, 4,
    format('select net.http_post(''https://x.supabase.co/functions/v1/odoo-crm-sync'', headers := ''{"Authorization": "Bearer %s"}'')', key), 'succeeded');
  select pg_temp.runs_with_key() limit 1;
$$;
select is_empty($$select pg_temp.runs_with_key()$$, 'no run has one');
select is(pg_temp.plant(format('eyJ%s.eyJ%s.%s', md5('a'), md5('b'), md5('c'))), -1::bigint, 'a JWT would be seen');
select is(pg_temp.plant('sb_secret_' || md5('a')), -1::bigint, 'a secret key would be seen');
select is(pg_temp.plant(md5('a')), -1::bigint, 'an opaque bearer would be seen');
select * from finish();
rollback;
