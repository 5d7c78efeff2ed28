-- Test: each command empties search_path first, and again after each commit, because a commit puts the old value back
begin;
select plan(4);
create temporary table made as
  select jobid, jobname, regexp_replace(command, '\$line\$[^\n]*\$line\$', '') as command
  from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty(
  $$select jobid, jobname from made where command !~ '^[^\n]*\ndo \$job\$\ndeclare\n(  [^\n]*\n)*begin\n\s*set local search_path = '''';'$$,
  'the first statement empties search_path');
select is_empty(
  $$select jobid, jobname from made where command ~ 'commit;(?!\s+set local search_path = '''';)'$$,
  'the statement after each commit empties search_path');
select is_empty($$select jobid, jobname from made where command !~ 'commit;'$$, 'each command has a commit');
select * from finish();
rollback;
