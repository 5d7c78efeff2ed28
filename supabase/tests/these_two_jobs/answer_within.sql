-- Test: both functions may take 50 s
begin;
select plan(1);
select results_eq(
  $$select jobname::text collate "default",
      (substring(command, '\n  job constant jsonb := \$line\$([^\n]*)\$line\$;\n')::jsonb -> 'answer_within')::int
    from cron.job where jobname in ('odoo-crm-sync-incremental', 'odoo-chatter-sync-hourly') order by 1$$,
  $$values ('odoo-chatter-sync-hourly', 50), ('odoo-crm-sync-incremental', 50)$$,
  'each line says 50');
select * from finish();
rollback;
