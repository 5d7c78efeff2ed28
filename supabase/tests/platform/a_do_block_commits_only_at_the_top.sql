-- Test: commit in a do block is refused inside a transaction (at the top level it is allowed, and jobs do it)
begin;
select plan(1);
select throws_ok($$do 'begin commit; end'$$, '2D000', null, 'commit in a transaction is 2D000');
select * from finish();
rollback;
