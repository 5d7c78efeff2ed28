-- Test: postgres runs migrations and jobs: it is no superuser, and it sees every job
begin;
select plan(3);
select is(current_user::text, 'postgres', 'the tests run as postgres');
select is((select rolsuper from pg_roles where rolname = 'postgres'), false, 'postgres is no superuser');
select is((select rolbypassrls from pg_roles where rolname = 'postgres'), true, 'postgres bypasses row security: it sees the jobs of every role');
select * from finish();
rollback;
