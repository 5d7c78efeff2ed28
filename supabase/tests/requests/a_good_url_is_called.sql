-- Test: the URLs that a project has, hosted and local, are all called
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
create function pg_temp.called(url text) returns text language sql as $$
  select pg_temp.fill('project_url', url), pg_temp.call('odoo-crm-sync-incremental');
  select url from net.http_request_queue order by id desc limit 1;
$$;
do $$ begin perform pg_temp.fill('service_role_key', 'sb_secret_' || md5(random()::text)); end $$;
select is(pg_temp.called(url), rtrim(url, '/') || '/functions/v1/odoo-crm-sync', url)
from unnest(array[
  'https://pgtap.supabase.co', 'https://pgtap.example.com:8443/', 'http://api.supabase.internal:8000', 'http://kong:8000',
  'http://127.0.0.1:54321']) as url;
select * from finish();
rollback;
