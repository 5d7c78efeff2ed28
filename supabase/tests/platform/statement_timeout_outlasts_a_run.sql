-- Test: statement_timeout is above the 110 s after which a run gives up
begin;
select plan(1);
select ok(
  setting::int = 0 or setting::int >= 115000,
  'statement_timeout is off, or 115 s or more: it is ' || current_setting('statement_timeout'))
from pg_settings where name = 'statement_timeout';
select * from finish();
rollback;
