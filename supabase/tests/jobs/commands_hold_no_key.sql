-- Test: no literal key stands in the commands of these jobs
begin;
select plan(5);
create function pg_temp.has_key(command text) returns boolean language sql as $$
  select command ~ 'eyJ[\w-]{10,}|sb_secret_[\w-]+' or command ~* 'bearer\s+(''+\s*(\|\||,)\s*''+)?[\w.~+/=-]{8,}[''"\\$]'
$$;
select is_empty(
  $$select jobname from cron.job
    where jobname in ('odoo-crm-sync-incremental', 'odoo-chatter-sync-hourly') and pg_temp.has_key(command)$$,
  'no command of ours has one');
select ok(pg_temp.has_key(format($$'{"apikey": "eyJ%s.eyJ%s.%s"}'$$, md5('a'), md5('b'), md5('c'))), 'a JWT would be seen');
select ok(pg_temp.has_key(format($$'{"apikey": "sb_secret_%s"}'$$, md5('a'))), 'a secret key would be seen');
select ok(pg_temp.has_key(format($$'{"authorization": "bearer %s"}'$$, md5('a'))), 'an opaque bearer would be seen');
select ok(pg_temp.has_key(format($$'Bearer ' || '%s'$$, md5('a'))), 'a bearer put together would be seen');
select * from finish();
rollback;
