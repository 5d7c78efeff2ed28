-- Test: Vault refuses a second secret of one name
begin;
select plan(1);
do $$ begin perform vault.create_secret('', 'pgtap_twice'); end $$;
select throws_ok($$select vault.create_secret('', 'pgtap_twice')$$, '23505', null, 'create_secret refuses a name that is taken');
select * from finish();
rollback;
