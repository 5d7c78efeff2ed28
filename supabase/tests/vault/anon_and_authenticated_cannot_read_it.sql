-- Test: neither anon nor authenticated can read Vault
begin;
select plan(2);
select throws_ok($$set local role anon; select * from vault.decrypted_secrets$$, '42501', 'permission denied for schema vault', 'anon');
select throws_ok($$set local role authenticated; select * from vault.decrypted_secrets$$, '42501', 'permission denied for schema vault',
  'authenticated');
select * from finish();
rollback;
