-- Test: every role may read requests and responses, and postgres can withdraw a request
begin;
select plan(3);
select ok(has_table_privilege('anon', 'net.http_request_queue', 'select'), 'anon may read queued headers');
select ok(has_table_privilege('anon', 'net._http_response', 'select'), 'anon may read responses');
create temporary table sent as select net.http_post(url := 'https://pgtap.invalid') as id;
select results_eq(
  $$with gone as (delete from net.http_request_queue where id = (
      select id from net.http_request_queue where id = (select id from sent) for update skip locked) returning id)
    select count(*)::int from gone$$,
  array[1], 'a request that is not taken yet can be withdrawn');
select * from finish();
rollback;
