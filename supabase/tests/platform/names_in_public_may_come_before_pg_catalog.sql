-- Test: a function or operator in public that fits better comes before that of pg_catalog, unless search_path is empty
begin;
select plan(6);
create function public.jsonb_build_object(text, text, text, text) returns jsonb language sql as $$select '"public"'::jsonb$$;
create function public.pgtap_greater(numeric, int) returns text language sql as $$select 'public'$$;
create operator public.> (function = public.pgtap_greater, leftarg = numeric, rightarg = int);
create function public.pgtap_member(jsonb, jsonb) returns text language sql as $$select 'public'$$;
create operator public.->> (function = public.pgtap_member, leftarg = jsonb, rightarg = jsonb);
create function pg_temp.value_under(path text, expression text) returns text language plpgsql set search_path from current as $$
declare
  value text;
begin
  perform set_config('search_path', path, true);
  execute 'select ' || expression into value;
  return value;
end
$$;
select is(pg_temp.value_under('public', expression), 'public', expression || ' under search_path public')
from unnest(array[$$jsonb_build_object('a', 'b', 'c', 'd') #>> '{}'$$, '1.5 > 1', $$'{"a": 1}'::jsonb ->> '"a"'$$]) as expression;
select isnt(pg_temp.value_under('', expression), 'public', expression || ' under an empty search_path')
from unnest(array[$$jsonb_build_object('a', 'b', 'c', 'd') #>> '{}'$$, '1.5 > 1', $$'{"a": 1}'::jsonb ->> '"a"'$$]) as expression;
select * from finish();
rollback;
