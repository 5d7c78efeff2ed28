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
create function pg_temp.calls(project text, job jsonb, command text) returns boolean language sql as $$
  select pg_temp.fill('project_url', project), pg_temp.fill(job ->> 'secret', 'sb_secret_' || md5(random()::text));
  select pg_temp.call(command);
  with request as (
    delete from net.http_request_queue where url = rtrim(project, '/') || '/functions/v1/' || (job ->> 'function') returning id
  )
  select count(*) = 1 from request;
$$;
select isnt_empty('select from made', 'there is a job made from the template');
-- A local project does not use port 9, so none of its own requests are counted.
select is_empty(format('select jobid, jobname from made where not pg_temp.calls(%L, job, command)', project), 'each job calls ' || project)
from unnest(array[
  'https://pgtap.supabase.co', 'https://pgtap.example.com:8443/', 'http://api.supabase.internal:9', 'http://kong:9', 'http://localhost:9',
  'http://127.0.0.1:9']) as project;
select * from finish();
rollback;
