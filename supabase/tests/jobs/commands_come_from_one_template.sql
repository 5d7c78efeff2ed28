-- Test: the commands made from the template differ in the line of the job, and in nothing else
begin;
select plan(3);
create temporary table made as
  select jobid, jobname, command from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty(
  $$select jobid, jobname from made
    where (select count(*) from regexp_split_to_table(command, '\n') as line where line ~ '^  job constant jsonb := \$line\$.*\$line\$;$') <> 1$$,
  'each command has one such line');
-- ok() and not is(): a command that differs may hold a key, and is() would print it.
select ok(
  (select count(distinct regexp_replace(command, '\n  job constant jsonb := \$line\$[^\n]*\$line\$;\n', '')) = 1 from made),
  'without that line all commands are the same');
select * from finish();
rollback;
