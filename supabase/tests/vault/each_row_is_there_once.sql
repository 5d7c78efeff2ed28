-- Test: project_url and each secret that a job of this database names is there exactly once, so that an update finds its row
begin;
select plan(2);
create temporary table named as
  select distinct substring(command, '\n  job constant jsonb := \$line\$([^\n]*)\$line\$;\n')::jsonb ->> 'secret' as name
  from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:' and database = current_database();
select isnt_empty('select from named', 'there is a job made from the template');
select is_empty(
  $$select name from (table named union select 'project_url') as wanted left join vault.secrets using (name)
    group by name having count(id) <> 1$$,
  'each row is there once');
select * from finish();
rollback;
