-- Test: no message about a bad key contains any of it
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
create function pg_temp.said(key text) returns text language plpgsql as $$
declare
  message text; detail text; hint text; context text;
begin
  perform pg_temp.fill('service_role_key', key), pg_temp.call('odoo-crm-sync-incremental');
  return 'nothing';
exception when raise_exception then
  get stacked diagnostics message = message_text, detail = pg_exception_detail, hint = pg_exception_hint, context = pg_exception_context;
  return concat_ws(e'\n', message, detail, hint, context);
end
$$;
create temporary table given as select md5(random()::text) as part;
do $$ begin perform pg_temp.fill('project_url', 'https://pgtap.supabase.co'); end $$;
create temporary table heard as select pg_temp.said('sb_secret_' || part || e'\n') as message, part from given;
select matches(message, 'is malformed', 'the message says what is wrong') from heard;
select unalike(message, '%' || left(part, 8) || '%', 'and not with the key') from heard;
select * from finish();
rollback;
