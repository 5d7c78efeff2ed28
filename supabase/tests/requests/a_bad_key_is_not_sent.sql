-- Test: a key that cannot be one stops the job before anything is queued
begin;
select plan(7);
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
  ('an empty key', '', 'empty'),
  ('a key that ends in a newline', 'sb_secret_' || md5(random()::text) || E'\n', 'malformed'),
  ('a key with CR LF inside', 'sb_secret_' || md5(random()::text) || E'\r\nx: y', 'malformed'),
  ('a key with a space', 'sb_secret_ ' || md5(random()::text), 'malformed'),
  ('a key with a tab', 'sb_secret_' || md5(random()::text) || E'\t', 'malformed'),
  ('a key that is not ASCII', 'sb_secret_é' || md5(random()::text), 'malformed');
do $$ begin
  perform pg_temp.fill('project_url', 'https://pgtap.supabase.co'), pg_temp.fill('service_role_key', 'sb_secret_' || md5(random()::text));
end $$;
select throws_ok(
  format('do $$ begin perform pg_temp.fill(%L, %L), pg_temp.call(%L); end $$', 'service_role_key', value, 'odoo-crm-sync-incremental'),
  'P0001', 'odoo-crm-sync: not called, Vault secret "service_role_key" is ' || problem, what)
from bad;
select is_empty($$select from net.http_request_queue where url like 'https://pgtap.%'$$, 'nothing is queued');
select * from finish();
rollback;
