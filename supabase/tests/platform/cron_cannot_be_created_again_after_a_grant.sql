-- Test: create extension if not exists pg_cron fails once postgres has granted cron.job: the migration looks in pg_extension first
begin;
select plan(1);
create role pgtap_watcher;
grant select on cron.job to pgtap_watcher;
select throws_ok('create extension if not exists pg_cron', '2BP01', null, 'dependent privileges exist');
select * from finish();
rollback;
