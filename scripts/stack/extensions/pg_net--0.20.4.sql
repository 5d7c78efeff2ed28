-- Stand-in of pg_net 0.20.4: http_post queues here as the real one does; workers/net.ts sends what is committed.

create schema net;

create unlogged table net.http_request_queue (
  id bigserial,
  method text not null,
  url text not null,
  headers jsonb,
  body bytea,
  timeout_milliseconds int not null
);

create unlogged table net._http_response (
  id bigint,
  status_code int,
  content_type text,
  headers jsonb,
  content text,
  timed_out bool,
  error_msg text,
  created timestamptz not null default now()
);
create index _http_response_created_idx on net._http_response (created);

create function net.http_post(
  url text,
  body jsonb default '{}',
  params jsonb default '{}',
  headers jsonb default '{"Content-Type": "application/json"}',
  timeout_milliseconds int default 5000
) returns bigint
language plpgsql as $$
declare
  content_type text := (select value from jsonb_each_text(headers) where lower(key) = 'content-type' limit 1);
  request bigint;
begin
  if params <> '{}' then
    raise exception 'the stand-in of pg_net takes no params' using errcode = 'feature_not_supported';
  end if;
  if content_type is null then
    headers := headers || '{"Content-Type": "application/json"}';
  elsif content_type <> 'application/json' then
    raise exception 'Content-Type header must be "application/json"';
  end if;
  insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  values ('POST', url, headers, convert_to(body::text, 'utf8'), timeout_milliseconds)
  returning id into request;
  perform pg_notify('pg_net', '');
  return request;
end
$$;

-- The worker ends its batch before it ends, as on SIGTERM: a notification reaches it when its transaction is over.
create function net.worker_restart() returns bool
language sql as $$ select pg_notify('pg_net', 'restart') is not null $$;

-- A response's body as text, unchecked, as the real worker stores it: byteasend hands its argument back as it is.
create function net._unchecked_text(body bytea) returns text
language internal immutable strict as 'byteasend';
revoke execute on function net._unchecked_text from public;

create function net.http_get(url text, params jsonb default '{}', headers jsonb default '{}',
  timeout_milliseconds int default 5000) returns bigint
language plpgsql as $$
begin
  raise exception 'the stand-in of pg_net has no http_get' using errcode = 'feature_not_supported';
end
$$;

create function net.http_delete(url text, params jsonb default '{}', headers jsonb default '{}',
  timeout_milliseconds int default 5000, body jsonb default null) returns bigint
language plpgsql as $$
begin
  raise exception 'the stand-in of pg_net has no http_delete' using errcode = 'feature_not_supported';
end
$$;

grant usage on schema net to public;
grant all on all tables in schema net to public;
grant all on all sequences in schema net to public;
