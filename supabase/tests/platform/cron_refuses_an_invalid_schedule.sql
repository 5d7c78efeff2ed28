-- Test: cron.schedule refuses an invalid schedule with 22023
begin;
select plan(3);
select throws_ok($$select cron.schedule('pgtap_job', '61 * * * *', 'select 1')$$, '22023', null, 'minute 61 is refused');
select throws_ok($$select cron.schedule('pgtap_job', '* * * *', 'select 1')$$, '22023', null, 'four fields are refused');
select throws_ok($$select cron.schedule('pgtap_job', '60 seconds', 'select 1')$$, '22023', null, '60 seconds are refused');
select * from finish();
rollback;
