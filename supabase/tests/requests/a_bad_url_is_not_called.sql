-- Test: a URL that cannot be a project's stops each job before a request is queued
begin;
select plan(17);
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
create function pg_temp.call_at(project text, job jsonb, command text) returns text language sql as $$
  select pg_temp.fill('project_url', project), pg_temp.fill(job ->> 'secret', 'sb_secret_' || md5(random()::text));
  select pg_temp.call(command);
$$;
create temporary table bad (what text, project text, problem text);
insert into bad values
  ('an empty URL', '', 'empty'),
  ('a URL with a path', 'https://pgtap.supabase.co/functions/v1', 'malformed'),
  ('a URL with two slashes at its end', 'https://pgtap.supabase.co//', 'malformed'),
  ('a URL with a query', 'https://pgtap.supabase.co?x', 'malformed'),
  ('a URL with a user and a password', 'https://me:secret@pgtap.supabase.co', 'malformed'),
  ('a URL that ends in a newline', e'https://pgtap.supabase.co\n', 'malformed'),
  ('a URL in angle brackets', '<https://pgtap.supabase.co>', 'malformed'),
  ('a URL without a scheme', 'pgtap.supabase.co', 'malformed'),
  ('another scheme', 'ftp://pgtap.supabase.co', 'malformed'),
  ('http to a public host', 'http://pgtap.supabase.co', 'malformed'),
  ('http to a public host that looks local', 'http://pgtap.internal.supabase.co', 'malformed'),
  ('http to a private address', 'http://10.0.0.1', 'malformed'),
  ('http to an address written as one number', 'http://2130706433', 'malformed'),
  ('http to an address written in hexadecimal', 'http://0x7f000001', 'malformed'),
  ('http to an IPv6 address', 'http://[::1]:9', 'malformed');
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty(
  format($$select jobid, jobname from made where pg_temp.call_at(%L, job, command) is distinct from
    concat(job ->> 'function', ': not called, Vault secret "project_url" is ', %L)$$, project, problem),
  what || ' stops each job')
from bad;
select is_empty($$select from net.http_request_queue where url ~ 'pgtap|10\.0\.0\.1|2130706433|0x7f000001|\[::1\]:9'$$, 'nothing is queued');
select * from finish();
rollback;
