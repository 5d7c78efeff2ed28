-- Test: a missing Vault row stops the job before anything is queued, and the HINT mends it
begin;
select plan(5);
create function pg_temp.fill(row_name text, value text) returns void language sql as $$
  select vault.update_secret(id, value) from vault.secrets where name = row_name;
$$;
-- Up to its first commit a command can run in here, where nothing is sent.
create function pg_temp.call(name text) returns void language plpgsql as $$
begin
  execute (select regexp_replace(command, 'commit;', 'return;') from cron.job where jobname = name);
end
$$;
create function pg_temp.hint() returns text language plpgsql as $$
declare
  hint text;
begin
  perform pg_temp.call('odoo-crm-sync-incremental');
  return 'no error';
exception when raise_exception then
  get stacked diagnostics hint = pg_exception_hint;
  return hint;
end
$$;
create function pg_temp.mend(value text) returns void language plpgsql as $$
begin
  execute replace(pg_temp.hint(), '<value>', value);
end
$$;
delete from vault.secrets where name in ('service_role_key', 'project_url');
select throws_ok($$select pg_temp.call('odoo-crm-sync-incremental')$$, 'P0001',
  'odoo-crm-sync: not called, Vault secret "service_role_key" is missing', 'no key');
do $$ begin perform pg_temp.mend('sb_secret_' || md5(random()::text)); end $$;
select throws_ok($$select pg_temp.call('odoo-crm-sync-incremental')$$, 'P0001',
  'odoo-crm-sync: not called, Vault secret "project_url" is missing', 'no URL');
select is_empty($$select from net.http_request_queue where url like 'https://pgtap.%'$$, 'nothing is queued');
do $$ begin perform pg_temp.mend('https://pgtap.supabase.co'); end $$;
select lives_ok($$select pg_temp.call('odoo-crm-sync-incremental')$$, 'with both statements executed the job calls');
select isnt_empty($$select from net.http_request_queue where url like 'https://pgtap.%'$$, 'and its request is queued');
select * from finish();
rollback;
