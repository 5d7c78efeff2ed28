-- Test: a Vault row that is missing or empty stops each job before a request is queued, and the HINT fills the row
begin;
select plan(7);
create temporary table made as
  select jobid, jobname, command, substring(command, '\n  job constant jsonb := \$line\$([^\n]*)\$line\$;\n')::jsonb as job
  from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
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
create function pg_temp.with_line(line text, command text) returns text language sql as $$
  select replace(command, substring(command, '\$line\$[^\n]*\$line\$'), '$line$' || line || '$line$');
$$;
insert into made (jobname, command, job)
select 'pgtap', pg_temp.with_line(line, command), line::jsonb
from made, (values ('{"function": "pgtap", "body": {}, "answer_within": 50, "secret": "pgtap''s \"own\" key"}')) as own (line) limit 1;
-- Executes the HINT of a command that calls nothing, with this value; returns what the command said.
create function pg_temp.mend(command text, value text) returns text language plpgsql set search_path from current as $$
declare
  said text;
  hint text;
begin
  begin
    execute regexp_replace(command, '\n\s*commit;', ' return;');
  exception
    when raise_exception then get stacked diagnostics said = message_text, hint = pg_exception_hint;
    when others then return sqlstate;
  end;
  execute coalesce(replace(hint, '<value>', value), 'select');
  return said;
end
$$;
create function pg_temp.said(job jsonb, command text) returns text[] language plpgsql as $$
begin
  delete from vault.secrets where name in (job ->> 'secret', 'project_url');
  return array[
    pg_temp.mend(command, ''), pg_temp.mend(command, 'sb_secret_' || md5(random()::text)),
    pg_temp.mend(command, ''), pg_temp.mend(command, 'https://pgtap.supabase.co'),
    pg_temp.call(command)];
end
$$;
create temporary table heard as
  select jobid, jobname, pg_temp.said(job, command) as said, concat(job ->> 'function', ': not called, Vault secret "') as stopped,
    job ->> 'secret' as secret
  from made;
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty($$select jobid, jobname from heard where said[1] is distinct from stopped || secret || '" is missing'$$,
  'without the secret, each job says that it is missing');
select is_empty($$select jobid, jobname from heard where said[2] is distinct from stopped || secret || '" is empty'$$,
  'the HINT creates the row; with an empty secret, each job says that it is empty');
select is_empty($$select jobid, jobname from heard where said[3] is distinct from stopped || 'project_url" is missing'$$,
  'the HINT fills it; without project_url, each job says that it is missing');
select is_empty($$select jobid, jobname from heard where said[4] is distinct from stopped || 'project_url" is empty'$$,
  'the HINT creates the row; with an empty project_url, each job says that it is empty');
select is_empty($$select jobid, jobname from heard where said[5] is distinct from 'called'$$,
  'the HINT fills it; with both rows filled, each job calls');
select is(
  (select count(*) from net.http_request_queue where url like 'https://pgtap.supabase.co/%'), (select count(*) from made),
  'only the last call of each job is queued');
select * from finish();
rollback;
