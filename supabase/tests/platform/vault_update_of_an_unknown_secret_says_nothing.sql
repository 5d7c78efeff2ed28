-- Test: update_secret on an unknown or null id updates nothing and raises no error
begin;
select plan(2);
select lives_ok($$select vault.update_secret(gen_random_uuid(), 'x')$$, 'an unknown id is no error');
select lives_ok($$select vault.update_secret((select id from vault.secrets where name = 'pgtap_nobody'), 'x')$$, 'a null id is no error');
select * from finish();
rollback;
