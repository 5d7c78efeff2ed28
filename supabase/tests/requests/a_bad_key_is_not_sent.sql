-- Test: a key that no HTTP header can carry stops each job before a request is queued
begin;
select plan(8);
create temporary table made as
  select jobid, jobname, command, substring(command, '\n  job constant jsonb := \$line\$([^\n]*)\$line\$;\n')::jsonb as job
  from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
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
create function pg_temp.call_with(key text, job jsonb, command text) returns text language sql as $$
  select pg_temp.fill('project_url', 'https://pgtap.supabase.co'), pg_temp.fill(job ->> 'secret', key);
  select pg_temp.call(command);
$$;
create temporary table bad (what text, key text, problem text);
insert into bad values
  ('an empty key', '', 'empty'),
  ('a key that ends in a newline', 'sb_secret_' || md5(random()::text) || e'\n', 'malformed'),
  ('a key with CR LF inside', 'sb_secret_' || md5(random()::text) || e'\r\nx: y', 'malformed'),
  ('a key with a space', 'sb_secret_ ' || md5(random()::text), 'malformed'),
  ('a key with a tab', 'sb_secret_' || md5(random()::text) || e'\t', 'malformed'),
  ('a key that is not ASCII', 'sb_secret_é' || md5(random()::text), 'malformed');
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty(
  format($$select jobid, jobname from made where pg_temp.call_with(%L, job, command) is distinct from
    concat(job ->> 'function', ': not called, Vault secret "', job ->> 'secret', '" is ', %L)$$, key, problem),
  what || ' stops each job')
from bad;
select is_empty($$select from net.http_request_queue where url like 'https://pgtap.%'$$, 'nothing is queued');
select * from finish();
rollback;
