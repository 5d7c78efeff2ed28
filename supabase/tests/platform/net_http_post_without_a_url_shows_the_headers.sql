-- Test: http_post with a null URL fails with the headers in its DETAIL, which is why the jobs check the URL first
begin;
select plan(2);
create function pg_temp.detail() returns text language plpgsql as $$
declare detail text;
begin
  perform net.http_post(url := null, headers := '{"apikey": "PGTAP"}');
  return 'no error';
exception when not_null_violation then
  get stacked diagnostics detail = pg_exception_detail;
  return detail;
end
$$;
select throws_ok($$select net.http_post(url := null)$$, '23502', null, 'a null URL is 23502');
select matches(pg_temp.detail(), 'PGTAP', 'its DETAIL has the headers');
select * from finish();
rollback;
