-- Test: one updated Vault row changes the key in the next request of each job, and nothing else in it
begin;
select plan(3);
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
-- The requests of two calls; between them only the Vault row of the key is updated.
create function pg_temp.requests(job jsonb, command text, old text, new text) returns jsonb language sql as $$
  select pg_temp.fill('project_url', 'https://pgtap.supabase.co'), pg_temp.fill(job ->> 'secret', old);
  select pg_temp.call(command);
  select vault.update_secret(id, new) from vault.secrets where name = job ->> 'secret';
  select pg_temp.call(command);
  with request as (delete from net.http_request_queue where url like 'https://pgtap.supabase.co/%' returning *)
  select jsonb_agg(to_jsonb(request) - 'id' order by id) from request;
$$;
create temporary table sent as
  select jobid, jobname, old, new, pg_temp.requests(job, command, old, new) as requests
  from (select *, 'sb_secret_' || md5(random()::text) as old, 'sb_secret_' || md5(random()::text) as new from made) as given;
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty(
  $$select jobid, jobname from sent where (requests -> 1 ->> 'headers' like '%' || new || '%') is not true$$,
  'the second request has the new key');
select is_empty(
  $$select jobid, jobname from sent where (requests -> 1 = replace(requests ->> 0, old, new)::jsonb) is not true$$,
  'everything else is the same');
select * from finish();
rollback;
