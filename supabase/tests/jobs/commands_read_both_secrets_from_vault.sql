-- Test: each command reads two rows of vault.decrypted_secrets: the secret that its line names, and project_url
begin;
select plan(3);
create temporary table made as
  select jobid, jobname, command from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty(
  $$select jobid, jobname from made
    where command not like '%(select decrypted_secret from vault.decrypted_secrets where name = job ->> ''secret'')%'$$,
  'each command reads the secret that its line names');
select is_empty(
  $$select jobid, jobname from made
    where command not like '%(select decrypted_secret from vault.decrypted_secrets where name = ''project\_url'')%'$$,
  'each command reads project_url');
select * from finish();
rollback;
