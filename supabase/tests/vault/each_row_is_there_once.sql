-- Test: after the migration each Vault row exists exactly once, so that an update always hits
begin;
select plan(1);
select results_eq(
  $$select name, count(*)::int from vault.secrets where name in ('service_role_key', 'project_url') group by name order by name$$,
  $$values ('project_url', 1), ('service_role_key', 1)$$,
  'service_role_key and project_url, once each');
select * from finish();
rollback;
