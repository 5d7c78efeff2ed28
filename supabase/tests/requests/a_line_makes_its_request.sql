-- Test: another line in the command of a job makes the request that this line says
begin;
select plan(13);
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
create function pg_temp.with_line(line text, command text) returns text language sql as $$
  select replace(command, substring(command, '\$line\$[^\n]*\$line\$'), '$line$' || line || '$line$');
$$;
create temporary table given (
  what text, header text, headers text default '"apikey": "<key>"', secret text default '"service_role_key"', answer_within int default 50,
  body text default '{}', posted jsonb default '{}'
);
insert into given (what, header, headers) values
  ('no header', null, '"Authorization": "Bearer <key>", "apikey": "<key>"'),
  ('"bearer"', '"bearer"', '"Authorization": "Bearer <key>"'),
  ('"Bearer"', '"Bearer"', '"Authorization": "Bearer <key>"'),
  ('"authorization"', '"authorization"', '"authorization": "<key>"'),
  ('"x-cron-secret"', '"x-cron-secret"', '"x-cron-secret": "<key>"'),
  ('"apikey"', '"apikey"', '"apikey": "<key>"');
insert into given (what, header, secret) values ('another secret', '"apikey"', '"pgtap''s \"own\" key"');
insert into given (what, header, answer_within) values ('150 seconds', '"apikey"', 150);
insert into given (what, header, body, posted) values
  ('a body that is null', '"apikey"', 'null', 'null'),
  ('a body that is an array', '"apikey"', '[1, "a"]', '[1, "a"]'),
  ('quotes, backslashes and a line break', '"apikey"', '"''x'' \"y\" \\ \\\\1 \n"', to_jsonb(e'\'x\' "y" \\ \\\\1 \n'::text)),
  ('dollar quotes, %, & and an emoji', '"apikey"', '"\u0024job\u0024 \u0024line\u0024 \u0024\u0024 %s %1\u0024L & é 😀"',
    to_jsonb('$job$ $line$ $'::text || '$ %s %1$L & é 😀'));
create temporary table sent as
  select what, given.headers as wanted_headers, posted, answer_within, key, request
  from (select *, 'sb_secret_' || md5(random()::text) as key,
      format('{"function": "pgtap", "body": %s, "secret": %s, "answer_within": %s%s}', body, secret, answer_within, ', "header": ' || header) as line
    from given) as given
  cross join (select command from made limit 1) as job
  left join lateral pg_temp.requests(key, line::jsonb, pg_temp.with_line(line, command)) as request on true;
select isnt_empty('select from made', 'there is a job made from the template');
-- ok() and not is(): a request that is wrong may hold a key, and is() would print it.
select ok(
  ((request).method::text, (request).url, (request).headers, convert_from((request).body, 'utf8')::jsonb, (request).timeout_milliseconds) = (
    'POST', 'https://pgtap.supabase.co/functions/v1/pgtap',
    replace(format('{"Content-Type": "application/json", %s}', wanted_headers), '<key>', key)::jsonb, posted, answer_within * 1000),
  what)
from sent;
select * from finish();
rollback;
