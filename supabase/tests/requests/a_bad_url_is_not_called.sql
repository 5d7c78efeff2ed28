-- Test: a URL that cannot be the project's stops the job before anything is queued
begin;
select plan(11);
create function pg_temp.fill(row_name text, value text) returns void language sql as $$
  select vault.update_secret(id, value) from vault.secrets where name = row_name;
$$;
-- Up to its first commit a command can run in here, where nothing is sent.
create function pg_temp.call(name text) returns void language plpgsql as $$
begin
  execute (select regexp_replace(command, 'commit;', 'return;') from cron.job where jobname = name);
end
$$;
create temporary table bad (what text, value text, problem text);
insert into bad values
  ('an empty URL', '', 'empty'),
  ('a URL with a path', 'https://pgtap.supabase.co/functions/v1', 'malformed'),
  ('a URL with a query', 'https://pgtap.supabase.co?x', 'malformed'),
  ('a URL with userinfo', 'https://me:secret@pgtap.supabase.co', 'malformed'),
  ('a URL that ends in a newline', E'https://pgtap.supabase.co\n', 'malformed'),
  ('a URL without a scheme', 'pgtap.supabase.co', 'malformed'),
  ('another scheme', 'ftp://pgtap.supabase.co', 'malformed'),
  ('http to a public host', 'http://pgtap.supabase.co', 'malformed'),
  ('http to a public host that looks local', 'http://api.supabase.internal.pgtap.co', 'malformed'),
  ('http to a public address', 'http://10.0.0.1', 'malformed');
do $$ begin
  perform pg_temp.fill('project_url', 'https://pgtap.supabase.co'), pg_temp.fill('service_role_key', 'sb_secret_' || md5(random()::text));
end $$;
select throws_ok(
  format('do $$ begin perform pg_temp.fill(%L, %L), pg_temp.call(%L); end $$', 'project_url', value, 'odoo-crm-sync-incremental'),
  'P0001', 'odoo-crm-sync: not called, Vault secret "project_url" is ' || problem, what)
from bad;
select is_empty($$select from net.http_request_queue where url like 'https://pgtap.%'$$, 'nothing is queued');
select * from finish();
rollback;
