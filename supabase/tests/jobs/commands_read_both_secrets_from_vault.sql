-- Test: both commands read key and URL from vault.decrypted_secrets
begin;
select plan(3);
create temporary table ours as
  select command from cron.job where jobname in ('odoo-crm-sync-incremental', 'odoo-chatter-sync-hourly');
select is((select count(*)::int from ours where command like '%from vault.decrypted_secrets%'), 2, 'both read vault.decrypted_secrets');
select is((select count(*)::int from ours where command like '%''service_role_key''%'), 2, 'both name service_role_key');
select is((select count(*)::int from ours where command like '%''project_url''%'), 2, 'both name project_url');
select * from finish();
rollback;
