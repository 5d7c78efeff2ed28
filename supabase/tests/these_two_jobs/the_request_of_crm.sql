-- Test: the exact request of odoo-crm-sync-incremental
begin;
select plan(3);
create function pg_temp.fill(row_name text, value text) returns void language sql as $$
  delete from vault.secrets where name = row_name;
  select vault.update_secret(vault.create_secret('', row_name), value);
$$;
-- Runs a command up to its first commit, so that nothing is sent. The command empties search_path: "set" puts it back at the end.
create function pg_temp.call(command text) returns text language plpgsql set search_path from current as $$
begin
  execute regexp_replace(command, '\n\s*commit;', ' return;');
  return 'called';
exception
  when raise_exception then return sqlerrm;
  when others then return sqlstate; -- the text of such an error would show the command
end
$$;
create temporary table given as select 'sb_secret_' || md5(random()::text) as key;
do $$ begin
  perform pg_temp.fill('project_url', 'https://pgtap.supabase.co/'), pg_temp.fill('service_role_key', key) from given;
end $$;
select is((select pg_temp.call(command) from cron.job where jobname = 'odoo-crm-sync-incremental'), 'called', 'the job calls');
-- ok() and not is(): a request that is wrong may hold a key, and is() would print it.
select ok(
  (select (method::text, url, convert_from(body, 'utf8')::jsonb, timeout_milliseconds)
      = ('POST', 'https://pgtap.supabase.co/functions/v1/odoo-crm-sync', '{"mode": "incremental"}'::jsonb, 50000)
    from net.http_request_queue where url like 'https://pgtap.supabase.co/%'),
  'it posts its body to odoo-crm-sync, and waits 50 s');
select ok(
  (select headers = jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ' || key, 'apikey', key)
    from net.http_request_queue, given where url like 'https://pgtap.supabase.co/%'),
  'it sends these three headers');
select * from finish();
rollback;
