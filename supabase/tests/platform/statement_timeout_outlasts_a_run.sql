-- Test: statement_timeout is off, or 2 minutes or more, and longer than the longest run of each job made from the template
begin;
select plan(3);
create temporary table made as
  select jobid, jobname,
    (substring(command, '\n  job constant jsonb := \$line\$([^\n]*)\$line\$;\n')::jsonb -> 'answer_within')::numeric as answer_within
  from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
create temporary table allowed as select nullif(setting::numeric, 0) / 1000 as seconds from pg_settings where name = 'statement_timeout';
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty('select seconds from allowed where seconds < 120', 'it is off, or 2 minutes or more');
select is_empty(
  $$select jobid, jobname from made, allowed
    where seconds <= case when answer_within <= 50 then 110 else 2 * answer_within + 10 end$$,
  'each job gives up before it ends the run');
select * from finish();
rollback;
