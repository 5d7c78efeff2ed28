-- Test: Vault stores a key encrypted, and gives it back as it was
begin;
select plan(2);
create temporary table given as select 'sb_secret_' || md5(random()::text) as key;
do $$ begin perform vault.update_secret(vault.create_secret('', 'pgtap_key'), key) from given; end $$;
select is((select decrypted_secret from vault.decrypted_secrets where name = 'pgtap_key'), (select key from given),
  'vault.decrypted_secrets has the key');
select is_empty($$select name from vault.secrets, given where secrets::text like '%' || key || '%'$$, 'vault.secrets does not have it');
select * from finish();
rollback;
