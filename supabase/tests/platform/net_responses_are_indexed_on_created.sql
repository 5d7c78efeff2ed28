-- Test: net._http_response has the columns that the jobs read, and an index that begins with created
begin;
select plan(2);
select columns_are('net', '_http_response',
  array['id', 'status_code', 'content_type', 'headers', 'content', 'timed_out', 'error_msg', 'created'], 'a response has these columns');
select isnt_empty(
  $$select from pg_index as i join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = 'net._http_response'::regclass and a.attname = 'created'$$, 'created is indexed');
select * from finish();
rollback;
