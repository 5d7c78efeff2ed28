-- Test: Vault returns the value that it was given, even an empty string or a trailing newline; null keeps the old value
begin;
select plan(3);
create function pg_temp.kept(value text) returns text language sql as $$
  select vault.update_secret(id, value) from vault.secrets where name = 'pgtap_value';
  select decrypted_secret from vault.decrypted_secrets where name = 'pgtap_value';
$$;
do $$ begin perform vault.create_secret('', 'pgtap_value'); end $$;
select is(pg_temp.kept(''), '', 'the empty string stays the empty string');
select is(pg_temp.kept(E'x\n'), E'x\n', 'a trailing newline is kept');
select is(pg_temp.kept(null), E'x\n', 'null keeps the old value');
select * from finish();
rollback;
