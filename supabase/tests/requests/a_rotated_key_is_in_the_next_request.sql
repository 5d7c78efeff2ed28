-- Test: one updated Vault row changes the key of the next request, and nothing else of it
begin;
select plan(2);
create function pg_temp.fill(row_name text, value text) returns void language sql as $$
  select vault.update_secret(id, value) from vault.secrets where name = row_name;
$$;
-- Up to its first commit a command can run in here, where nothing is sent.
create function pg_temp.call(name text) returns void language plpgsql as $$
begin
  execute (select regexp_replace(command, 'commit;', 'return;') from cron.job where jobname = name);
end
$$;
create temporary table given as select 'sb_secret_' || md5(random()::text) as old, 'sb_secret_' || md5(random()::text) as new;
do $$ begin
  perform pg_temp.fill('project_url', 'https://pgtap.supabase.co'), pg_temp.fill('service_role_key', old) from given;
  perform pg_temp.call('odoo-crm-sync-incremental');
  perform pg_temp.fill('service_role_key', new) from given;
  perform pg_temp.call('odoo-crm-sync-incremental');
end $$;
create temporary table sent as
  select row_number() over (order by id) as nth, to_jsonb(queue) - 'id' as request
  from net.http_request_queue as queue where url like 'https://pgtap.supabase.co/%';
select is(
  (select request -> 'headers' ->> 'Authorization' from sent where nth = 2), (select 'Bearer ' || new from given),
  'the second request has the new key');
select is(
  (select request from sent where nth = 2),
  (select replace(request::text, old, new)::jsonb from sent, given where nth = 1),
  'all else is the same');
select * from finish();
rollback;
