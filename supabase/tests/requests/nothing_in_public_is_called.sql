-- Test: a job calls no function and no operator of public, even where one fits better than that of pg_catalog
begin;
select plan(7);
create temporary table made as
  select jobid, jobname, command, substring(command, '\n  job constant jsonb := \$line\$([^\n]*)\$line\$;\n')::jsonb as job
  from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
create function pg_temp.fill(row_name text, value text) returns void language sql as $$
  delete from vault.secrets where name = row_name;
  select vault.update_secret(vault.create_secret('', row_name), value);
$$;
create function pg_temp.with_line(line text, command text) returns text language sql as $$
  select replace(command, substring(command, '\$line\$[^\n]*\$line\$'), '$line$' || line || '$line$');
$$;
-- Two more jobs, which take every way through the command between them.
insert into made (jobname, command, job)
select 'pgtap', pg_temp.with_line(line, command), line::jsonb
from (select command from made limit 1) as job, (values
  ('{"function": "pgtap", "body": {}, "answer_within": 50, "secret": "pgtap_key"}'),
  ('{"function": "pgtap", "body": {}, "answer_within": 150, "secret": "pgtap_key", "header": "x-cron-secret"}')) as own (line);

-- They raise where they are called. Each fits the arguments of a call in the template better than what pg_catalog has.
create temporary table lookalike (name text, arguments text, returned text);
insert into lookalike values
  ('jsonb_build_object', 'text, text', 'jsonb'), ('jsonb_build_object', 'text, text, text, text', 'jsonb'),
  ('format', 'text, text', 'text'), ('format', 'text, numeric', 'text'), ('concat_ws', 'text, int, text', 'text'),
  ('pg_sleep', 'numeric', 'void'), ('convert_to', 'text, text', 'bytea'), ('convert_from', 'bytea, text', 'text'),
  ('->', 'jsonb, jsonb', 'jsonb'), ('->>', 'jsonb, jsonb', 'text'), ('<=', 'numeric, int', 'boolean'), ('*', 'numeric, int', 'numeric'),
  ('*', 'int, numeric', 'numeric'), ('+', 'numeric, int', 'numeric');
create temporary table making as
  select name, arguments,
    format($$create function public.%I(%s) returns %s language plpgsql as 'begin raise ''hijacked''; end'; $$, function, arguments, returned)
    || case when name <> function then format('create operator public.%s (function = public.%I, leftarg = %s, rightarg = %s)',
      name, function, split_part(arguments, ', ', 1), split_part(arguments, ', ', 2)) else '' end as statements
  from (select *, case when name ~ '^\w' then name else 'pgtap_' || row_number() over () end as function from lookalike) as named;

-- Runs a whole command in this transaction: "answer" takes the place of its commits.
create function pg_temp.call(command text, answer text) returns text language plpgsql set search_path from current as $$
begin
  execute regexp_replace(command, '\n\s*commit;', answer, 'g');
  return 'called';
exception
  when raise_exception then return sqlerrm;
  when others then return sqlstate; -- the text of such an error would show the command
end
$$;
-- The request of a command, and what the command says in five cases, with these lookalikes in public. The function undoes its changes.
create function pg_temp.outcomes(job jsonb, command text, lookalikes text[], out request jsonb, out said text[])
language plpgsql set search_path from current as $$
declare
  secret constant text := job ->> 'secret';
  commits constant text := ' set local search_path = public, extensions;'; -- a commit puts the old value back: so does this
  statements text;
begin
  perform pg_temp.fill('project_url', 'https://pgtap.supabase.co'), pg_temp.fill(secret, 'pgtap-key');
  foreach statements in array lookalikes loop
    execute statements;
  end loop;
  said[1] := pg_temp.call(command, ' return;');
  select to_jsonb(queue) into request from net.http_request_queue as queue where url like 'https://pgtap.supabase.co/%';
  said[2] := pg_temp.call(command, $answer$
    insert into net._http_response (id, status_code, headers, content, timed_out, created)
    values (request, 401, '{"sb-error-code": "PGTAP"}', 'no', false, clock_timestamp());$answer$ || commits);
  said[3] := pg_temp.call(command, $answer$
    insert into net._http_response (id, timed_out, created) values (request, true, clock_timestamp());$answer$ || commits);
  said[4] := pg_temp.call(regexp_replace(command, '\n\s*loop\n', e'\n  posted := clock_timestamp(); give_up_after := 0.05;\\&'), commits);
  perform pg_temp.fill(secret, 'pgtap key');
  said[5] := pg_temp.call(command, ' return;');
  raise sqlstate 'PGTAP';
exception when sqlstate 'PGTAP' then
  null;
end
$$;
create temporary table heard as
  select jobid, jobname, job, command, request, said
  from made, pg_temp.outcomes(job, command, array(select statements from making));
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty(
  $$select jobid, jobname from heard where request - 'id' is distinct from jsonb_build_object(
    'method', 'POST', 'url', 'https://pgtap.supabase.co/functions/v1/' || (job ->> 'function'),
    'headers', '{"Content-Type": "application/json"}' || case
      when not job ? 'header' then '{"Authorization": "Bearer pgtap-key", "apikey": "pgtap-key"}'
      when lower(job ->> 'header') = 'bearer' then '{"Authorization": "Bearer pgtap-key"}'
      else jsonb_build_object(job ->> 'header', 'pgtap-key') end,
    'body', to_jsonb(convert_to((job -> 'body')::text, 'utf8')), 'timeout_milliseconds', (job ->> 'answer_within')::numeric * 1000)$$,
  'each job sends its request');
select is_empty(
  format($$select jobid, jobname from heard where said[%s] is distinct from
    replace(replace(replace(%L, 'FUNCTION', job ->> 'function'), 'SECRET', job ->> 'secret'), 'SECONDS', job ->> 'answer_within')$$, nth, wanted),
  what)
from (values
  (2, 'FUNCTION: HTTP 401 PGTAP', 'it reads an answer'),
  (3, 'FUNCTION: no answer within SECONDS s (the function may still be running)', 'it reads a timeout'),
  (4, 'FUNCTION: not sent within 0.05 s, request withdrawn', 'it waits, and withdraws its request'),
  (5, 'FUNCTION: not called, Vault secret "SECRET" is malformed', 'it checks the key')) as wanted (nth, wanted, what);
select is_empty(
  $$select name, arguments from making where not exists (
    select from heard, pg_temp.outcomes(job, replace(command, 'set local search_path = '''';', ''), array[statements]) as unguarded
    where jobid is null and unguarded.said <> heard.said)$$,
  'with search_path left as it is, a job calls each of them');
select * from finish();
rollback;
