-- Test: the key is stored encrypted and reads back as it was
begin;
select plan(2);
create temporary table given as select 'sb_secret_' || md5(random()::text) as key;
do $$ begin
  perform vault.update_secret(id, (select key from given)) from vault.secrets where name = 'service_role_key';
end $$;
select is((select decrypted_secret from vault.decrypted_secrets where name = 'service_role_key'), (select key from given),
  'decrypted_secrets has the key');
select is_empty($$select from vault.secrets, given where secrets::text like '%' || key || '%'$$, 'vault.secrets does not');
select * from finish();
rollback;
