-- Test: the two commands differ in the function, its body and its time, and in nothing else
begin;
select plan(1);
-- ok() and not is(): a command that is wrong may hold a key, and is() would print it.
select ok(
  (select replace(replace(command, 'odoo-chatter-sync', 'odoo-crm-sync'), '{"mode": "missing"}', '{"mode": "incremental"}')
    from cron.job where jobname = 'odoo-chatter-sync-hourly')
  = (select command from cron.job where jobname = 'odoo-crm-sync-incremental'),
  'one template');
select * from finish();
rollback;
