-- Test: each job queues one request: URL, headers, body and timeout are as its line says
begin;
select plan(6);
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
-- Calls with this key, and takes the request out of the queue.
create function pg_temp.requests(key text, job jsonb, command text) returns setof net.http_request_queue language sql as $$
  select pg_temp.fill('project_url', 'https://pgtap.supabase.co/'), pg_temp.fill(job ->> 'secret', key);
  select pg_temp.call(command);
  delete from net.http_request_queue where url like 'https://pgtap.supabase.co/%' returning *;
$$;
create temporary table sent as
  select given.*, request.*
  from (select *, 'sb_secret_' || md5(random()::text) as key from made) as given
  left join lateral pg_temp.requests(key, job, command) as request on true;
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty('select jobid, jobname from sent group by 1, 2 having count(id) <> 1', 'each job queues one request');
select is_empty(
  $$select jobid, jobname from sent
    where (method::text, url) is distinct from ('POST', 'https://pgtap.supabase.co/functions/v1/' || (job ->> 'function'))$$,
  'it is a POST to the function');
select is_empty(
  $$select jobid, jobname from sent where headers is distinct from '{"Content-Type": "application/json"}' || case
      when not job ? 'header' then jsonb_build_object('Authorization', 'Bearer ' || key, 'apikey', key)
      when lower(job ->> 'header') = 'bearer' then jsonb_build_object('Authorization', 'Bearer ' || key)
      else jsonb_build_object(job ->> 'header', key) end$$,
  'its headers are the content type, and the key as the line says');
select is_empty($$select jobid, jobname from sent where convert_from(body, 'utf8')::jsonb is distinct from job -> 'body'$$,
  'its body is that of the line');
select is_empty(
  $$select jobid, jobname from sent where timeout_milliseconds is distinct from (job ->> 'answer_within')::numeric * 1000$$,
  'its timeout is answer_within');
select * from finish();
rollback;
