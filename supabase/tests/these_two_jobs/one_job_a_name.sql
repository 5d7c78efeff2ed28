-- Test: there is one job of each name, whoever owns it
begin;
select plan(1);
select results_eq(
  $$select jobname::text collate "default", count(*)::int from cron.job
    where jobname in ('odoo-crm-sync-incremental', 'odoo-chatter-sync-hourly') group by 1 order by 1$$,
  $$values ('odoo-chatter-sync-hourly', 1), ('odoo-crm-sync-incremental', 1)$$,
  'there is one job of each name');
select * from finish();
rollback;
