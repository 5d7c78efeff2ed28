-- Test: each job calls the URLs that a project has, hosted and local
begin;
select plan(7);
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
-- The URL that a command calls; null where it calls none.
create function pg_temp.called_at(url text, job jsonb, command text) returns text language sql as $$
  select pg_temp.fill('project_url', url), pg_temp.fill(job ->> 'secret', 'sb_secret_' || md5(random()::text));
  select url from net.http_request_queue where pg_temp.call(command) = 'called' order by id desc limit 1;
$$;
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty(
  format($$select jobid, jobname from made where pg_temp.called_at(%L, job, command) is distinct from
    rtrim(%1$L, '/') || '/functions/v1/' || (job ->> 'function')$$, url), 'each job calls ' || url)
from unnest(array[
  'https://pgtap.supabase.co', 'https://pgtap.example.com:8443/', 'http://api.supabase.internal:8000', 'http://kong:8000',
  'http://localhost:8000', 'http://127.0.0.1:54321']) as url;
select * from finish();
rollback;
