-- Test: no message of a job has any part of the key in it
begin;
select plan(4);
create temporary table made as
  select jobid, jobname, command, substring(command, '\n  job constant jsonb := \$line\$([^\n]*)\$line\$;\n')::jsonb as job
  from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
create function pg_temp.fill(row_name text, value text) returns void language sql as $$
  delete from vault.secrets where name = row_name;
  select vault.update_secret(vault.create_secret('', row_name), value);
$$;
-- All that a command says with this key, when the statement "answer" takes the place of its first commit.
create function pg_temp.said(key text, job jsonb, command text, answer text) returns text language plpgsql set search_path from current as $$
declare
  message text; detail text; hint text; context text;
begin
  perform pg_temp.fill('project_url', 'https://pgtap.supabase.co'), pg_temp.fill(job ->> 'secret', key);
  execute regexp_replace(command, '\n\s*commit;', answer);
  return 'nothing';
exception when others then
  get stacked diagnostics message = message_text, detail = pg_exception_detail, hint = pg_exception_hint, context = pg_exception_context;
  return concat_ws(e'\n', message, detail, hint, context);
end
$$;
create temporary table heard as
  select jobid, jobname, left(part, 8) as part, pg_temp.said('sb_secret_' || part || e'\n', job, command, ' return;') as of_bad_key,
    pg_temp.said('sb_secret_' || part, job, command, $$
      insert into net._http_response (id, status_code, headers, content, timed_out, created)
      values (request, 401, jsonb_build_object('sb-error-code', key), 'bad key: ' || key, false, clock_timestamp());$$) as of_echo
  from (select *, md5(random()::text) as part from made) as given;
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty($$select jobid, jobname from heard where of_bad_key not like '%is malformed%' or of_bad_key like '%' || part || '%'$$,
  'a malformed key is not in what a job says of it');
select is_empty($$select jobid, jobname from heard where of_echo not like '%HTTP 401%bad key: [key]%'$$,
  'a job says what the function answered, with [key] for the key');
select is_empty($$select jobid, jobname from heard where of_echo like '%' || part || '%'$$,
  'no message has the key that came back in the answer');
select * from finish();
rollback;
