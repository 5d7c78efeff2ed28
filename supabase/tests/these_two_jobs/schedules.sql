-- Test: both jobs are active and run at their times, in this database, as postgres
begin;
select plan(1);
select results_eq(
  $$select jobname::text collate "default", schedule, active, database = current_database(), username from cron.job
    where jobname in ('odoo-crm-sync-incremental', 'odoo-chatter-sync-hourly') order by 1$$,
  $$values
    ('odoo-chatter-sync-hourly', '0 * * * *', true, true, 'postgres'),
    ('odoo-crm-sync-incremental', '*/15 * * * *', true, true, 'postgres')$$,
  'chatter runs each hour, crm each 15 minutes');
select * from finish();
rollback;
