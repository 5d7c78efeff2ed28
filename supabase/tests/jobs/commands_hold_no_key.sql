-- Test: no command made from the template has a literal key in it
begin;
select plan(6);
create temporary table made as
  select jobid, jobname, command from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:';
create function pg_temp.has_key(command text) returns boolean language sql as $$
  -- A Vault row may be named sb_secret_something: a key is longer.
  select command ~ 'eyJ[\w-]{10,}|sb_secret_[\w-]{20,}' or command ~* 'bearer\s+(''+\s*(\|\||,)\s*''+)?[\w.~+/=-]{8,}[''"\\$]'
$$;
select isnt_empty('select from made', 'there is a job made from the template');
select is_empty('select jobid, jobname from made where pg_temp.has_key(command)', 'no command has a key');
select ok(pg_temp.has_key(format($$'{"apikey": "eyJ%s.eyJ%s.%s"}'$$, md5('a'), md5('b'), md5('c'))), 'a JWT would be seen');
select ok(pg_temp.has_key(format($$'{"apikey": "sb_secret_%s"}'$$, md5('a'))), 'a secret key would be seen');
select ok(pg_temp.has_key(format($$'{"authorization": "bearer %s"}'$$, md5('a'))), 'an opaque bearer would be seen');
select ok(pg_temp.has_key(format($$'Bearer ' || '%s'$$, md5('a'))), 'a bearer in two literals would be seen');
select * from finish();
rollback;
