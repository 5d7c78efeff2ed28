-- Test: the exact request of odoo-crm-sync-incremental
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
create temporary table given as select 'sb_secret_' || md5(random()::text) as key;
do $$ begin
  perform pg_temp.fill('project_url', 'https://pgtap.supabase.co/'), pg_temp.fill('service_role_key', key) from given;
  perform pg_temp.call('odoo-crm-sync-incremental');
end $$;
select results_eq(
  $$select method::text, convert_from(body, 'utf8')::jsonb, timeout_milliseconds from net.http_request_queue
    where url = 'https://pgtap.supabase.co/functions/v1/odoo-crm-sync'$$,
  $$values ('POST', '{"mode": "incremental"}'::jsonb, 50000)$$,
  'one POST to the function, with its body and 50 s');
select is(
  (select headers from net.http_request_queue where url = 'https://pgtap.supabase.co/functions/v1/odoo-crm-sync'),
  (select jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ' || key, 'apikey', key) from given),
  'with these three headers');
select * from finish();
rollback;
