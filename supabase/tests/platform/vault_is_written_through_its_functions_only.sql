-- Test: postgres may select and delete in Vault, and writes through the two functions only
begin;
select plan(4);
select throws_ok($$insert into vault.secrets (secret) values ('x')$$, '42501', null, 'insert is refused');
select throws_ok($$update vault.secrets set secret = 'x'$$, '42501', null, 'update is refused');
select throws_ok($$select id from vault.secrets for update$$, '42501', null, 'a row lock is refused');
select lives_ok($$delete from vault.secrets where name = 'pgtap_nobody'$$, 'delete is allowed');
select * from finish();
rollback;
