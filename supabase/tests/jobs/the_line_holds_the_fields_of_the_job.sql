-- Test: the line of each command is a JSON object with the fields of a job, each within its range
begin;
select plan(12);
create temporary table made as
  select jobid, jobname, substring(command, '\n  job constant jsonb := \$line\$([^\n]*)\$line\$;\n') as line
  from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
create function pg_temp.fits(line text) returns boolean language plpgsql as $$
declare
  job jsonb;
begin
  job := line;
  return jsonb_typeof(job) = 'object'
    and job ?& array['body', 'function', 'answer_within', 'secret']
    and job - array['body', 'function', 'answer_within', 'secret', 'header'] = '{}'
    and job @? '$.function ? (@ like_regex "^[A-Za-z0-9_-]+$")'
    and job @? '$.answer_within ? (@ >= 1 && @ <= 150 && @ % 1 == 0)'
    and job @? '$.secret ? (@ like_regex "." && @ != "project_url")'
    and (not job ? 'header' or job @? '$.header ? (@ like_regex "^[A-Za-z0-9-]+$")' and lower(job ->> 'header') not in (
      'content-type', 'content-length', 'host', 'transfer-encoding', 'connection', 'expect', 'accept', 'user-agent'));
exception when data_exception then
  return false; -- not JSON: the text of this error would show the line
end
$$;
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty('select jobid, jobname from made where pg_temp.fits(line) is not true', 'the line of each job fits');
select ok(pg_temp.fits(line), 'a line with every field fits') from (values
  ('{"body": null, "function": "a_B-1", "answer_within": 150, "secret": "a key", "header": "x-cron-secret"}')) as good (line);
select ok(not pg_temp.fits(line), what || ' would be seen') from (values
  ('an array', '[]'),
  ('a line that is not JSON', '{"body": {}, "function": "f", "answer_within": 50, "secret": "s"'),
  ('a missing field', '{"function": "f", "answer_within": 50, "secret": "s"}'),
  ('an unknown field', '{"body": {}, "function": "f", "answer_within": 50, "secret": "s", "name": "n"}'),
  ('a function with a path', '{"body": {}, "function": "f/g", "answer_within": 50, "secret": "s"}'),
  ('half a second', '{"body": {}, "function": "f", "answer_within": 50.5, "secret": "s"}'),
  ('151 seconds', '{"body": {}, "function": "f", "answer_within": 151, "secret": "s"}'),
  ('project_url as the secret', '{"body": {}, "function": "f", "answer_within": 50, "secret": "project_url"}'),
  ('a header that HTTP owns', '{"body": {}, "function": "f", "answer_within": 50, "secret": "s", "header": "Host"}')) as bad (what, line);
select * from finish();
rollback;
