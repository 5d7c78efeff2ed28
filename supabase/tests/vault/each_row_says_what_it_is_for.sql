-- Test: each Vault row has a description
begin;
select plan(1);
select is_empty(
  $$select name from vault.secrets where name in ('service_role_key', 'project_url') and description = ''$$,
  'no row is without a description');
select * from finish();
rollback;
