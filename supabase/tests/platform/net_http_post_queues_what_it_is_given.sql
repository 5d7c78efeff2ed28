-- Test: net.http_post queues url, headers, body and timeout as they are given
begin;
select plan(3);
create temporary table sent as select net.http_post(
  url := 'https://pgtap.invalid/x', headers := '{"Content-Type": "application/json", "apikey": "k"}', body := '{"a": 1}',
  timeout_milliseconds := 1234) as id;
select results_eq(
  $$select method::text, url, headers, convert_from(body, 'utf8')::jsonb, timeout_milliseconds from net.http_request_queue join sent using (id)$$,
  $$values ('POST', 'https://pgtap.invalid/x', '{"apikey": "k", "Content-Type": "application/json"}'::jsonb, '{"a": 1}'::jsonb, 1234)$$,
  'the queue holds the request');
select throws_ok($$select net.http_post(url := 'https://pgtap.invalid', headers := '{"Content-Type": "text/plain"}')$$, 'P0001', null,
  'another content type is refused');
select is((select pg_get_function_arguments(oid) from pg_proc where oid = 'net.http_post'::regproc) ~ 'timeout_milliseconds integer DEFAULT', true,
  'the timeout has a default, which is why the jobs give theirs');
select * from finish();
rollback;
