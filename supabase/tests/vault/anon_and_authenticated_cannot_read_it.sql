-- Test: neither anon nor authenticated can read Vault
begin;
select plan(4);
select throws_ok('set local role anon; select from vault.decrypted_secrets', '42501', null, 'anon cannot read vault.decrypted_secrets');
reset role;
select throws_ok('set local role anon; select from vault.secrets', '42501', null, 'anon cannot read vault.secrets');
reset role;
select throws_ok('set local role authenticated; select from vault.decrypted_secrets', '42501', null,
  'authenticated cannot read vault.decrypted_secrets');
reset role;
select throws_ok('set local role authenticated; select from vault.secrets', '42501', null, 'authenticated cannot read vault.secrets');
reset role;
select * from finish();
rollback;
