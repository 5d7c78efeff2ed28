-- Scheduled calls of edge functions: the key lives in Vault, and a call that fails is a failed run.
-- Changes: the commands of the jobs in the list. Creates what is missing: these jobs, and the Vault rows that they read. A new row has the
--   value of the session setting app.settings.<name>, else it is empty.
-- Leaves alone: Vault rows that exist; the id, schedule, database and active flag of a job that exists; every other job.
-- Run it as postgres, as often as you like (psql -1 -f). To add a job, copy this file under a new timestamp, with that job in the list.

-- The list: one line a job. answer_within: seconds that the function may take, 150 at most. Two more fields are optional.
--   "secret": the Vault row that holds the key (service_role_key where it is left out).
--   "header": the one header that carries the key, or "bearer" for Authorization: Bearer <key> (both that and apikey where left out).
set cron_vault.list = $jobs$[
  {"name": "odoo-crm-sync-incremental", "schedule": "*/15 * * * *", "function": "odoo-crm-sync", "body": {"mode": "incremental"}, "answer_within": 50},
  {"name": "odoo-chatter-sync-hourly", "schedule": "0 * * * *", "function": "odoo-chatter-sync", "body": {"mode": "missing"}, "answer_within": 50}
]$jobs$;

-- What a job runs: only the line "job constant" differs. It is short, because pg_cron keeps a copy with every run. http is for local hosts.
set cron_vault.template = $template$-- supabase-cron-vault, template 1: calls an edge function, and fails unless it answers 2xx
do $job$
declare
  job constant jsonb := $line${}$line$;
  callee text; header text; key text; url text; bad text[]; problem text; posted timestamptz; request bigint; answer record;
  answer_within numeric; give_up_after numeric; waited numeric; -- seconds
begin
  set local search_path = ''; -- first, and after each commit: nothing in public is called
  select job ->> 'function', job ->> 'header', job ->> 'answer_within',
    (select decrypted_secret from vault.decrypted_secrets where name = job ->> 'secret'),
    (select decrypted_secret from vault.decrypted_secrets where name = 'project_url')
  into callee, header, answer_within, key, url;
  bad := case when (key ~ '^[!-~]+$') is not true then array[job ->> 'secret', key]
    when (url ~ '^(https://[a-z0-9.-]+(:[0-9]+)?|http://([a-z][a-z0-9-]*|[a-z0-9.-]+\.internal|127\.0\.0\.1)(:[0-9]+)?)/?$') is not true
    then array['project_url', url] end;
  if bad is not null then
    raise '%: not called, Vault secret "%" is %', callee, bad[1],
      case when bad[2] is null then 'missing' when bad[2] = '' then 'empty' else 'malformed' end using hint = format(
      'select vault.update_secret(coalesce((select id from vault.secrets where name = %1$L), vault.create_secret('''', %1$L)), ''<value>'')', bad[1]);
  end if;
  posted := clock_timestamp();
  request := net.http_post(
    url := rtrim(url, '/') || '/functions/v1/' || callee,
    headers := '{"Content-Type": "application/json"}' || case
      when header is null then jsonb_build_object('Authorization', 'Bearer ' || key, 'apikey', key)
      when lower(header) = 'bearer' then jsonb_build_object('Authorization', 'Bearer ' || key) else jsonb_build_object(header, key) end,
    body := job -> 'body', timeout_milliseconds := (answer_within * 1000)::int);
  commit; set local search_path = ''; -- pg_net sends only what is committed

  give_up_after := case when answer_within <= 50 then 110 else 2 * answer_within + 10 end; -- a slow request may be in pg_net's batch
  loop
    waited := extract(epoch from clock_timestamp() - posted);
    select * into answer from net._http_response where id = request and created > posted - interval '1 minute' -- indexed on created
    order by created desc limit 1;
    exit when found or waited >= give_up_after;
    perform pg_sleep(least(greatest(0.02, 0.05 * waited), give_up_after - waited));
    commit; set local search_path = ''; -- each look needs a new snapshot
  end loop;
  if not found then
    delete from net.http_request_queue where id = (select id from net.http_request_queue where id = request for update skip locked);
    problem := case when found then 'not sent within %s s, request withdrawn' else 'sent, no response recorded within %s s' end;
    commit; set local search_path = '';
    raise '%: %', callee, format(problem, give_up_after) using hint = 'select net.worker_restart()';
  elsif answer.status_code is null then
    raise '%: %', callee, case when answer.timed_out then format('no answer within %s s (the function may still be running)', answer_within)
      else answer.error_msg end;
  elsif answer.status_code not between 200 and 299 then
    begin
      problem := convert_from(convert_to(left(replace(answer.content, key, '[key]'), 500), 'utf8'), 'utf8'); -- checks it
    exception when character_not_in_repertoire then problem := 'not UTF-8'; end;
    raise '%: HTTP %', callee, concat_ws(' ', answer.status_code,
      replace(substring(answer.headers::text, '(?i)"sb-error-code": "([a-z0-9_-]+)"'), key, '[key]')) using detail = coalesce(problem, '');
  end if;
end
$job$$template$;

do $migration$
declare
  line text; place int; last boolean; fields json; wanted jsonb; present record; names text[]; problem text; allowed interval; needed int;
begin
  set local search_path = '';
  -- Not "if not exists": on Supabase that fails where the extension exists and somebody was granted cron.job (2BP01).
  if not exists (select from pg_extension where extname = 'pg_cron') then create extension pg_cron; end if;
  if not exists (select from pg_extension where extname = 'pg_net') then create extension pg_net with schema extensions; end if;
  if not exists (select from pg_extension where extname = 'supabase_vault') then create extension supabase_vault; end if;
  -- statement_timeout of the role that runs the jobs, not of this session: of the role in this database, else its own, else the server's.
  select regexp_replace(value, '^[0-9]+$', '\&ms') into allowed from (
    select substring(config, '=(.*)') as value, setrole, setdatabase from pg_db_role_setting, unnest(setconfig) as config
    where config like 'statement_timeout=%' and setrole in (0, (select oid from pg_roles where rolname = current_user))
      and setdatabase in (0, (select oid from pg_database where datname = current_database()))
    union all select reset_val, null, null from pg_settings where name = 'statement_timeout'
  ) as setting order by setrole desc nulls last, setdatabase desc limit 1;
  for line, place, last in select l, n, n = count(*) over ()
    from regexp_split_to_table(btrim(current_setting('cron_vault.list'), E'[] \t\r\n'), '\s*\n\s*') with ordinality as t (l, n) loop
    begin
      fields := regexp_replace(line, ',$', '');
      wanted := fields;
      select format('"%s" must be %s', coalesce(field, key),
        case when field is null then 'left out: it is not a field' when times > 1 then 'given once' else must_be end) into problem
      from (values
        ('name', true, '@ like_regex "."', 'the name of the job'),
        ('schedule', true, '@ like_regex "."', 'a schedule, like "*/15 * * * *"'),
        ('function', true, '@ like_regex "^[A-Za-z0-9_-]+$"', 'letters, digits, _ and -'),
        ('body', true, '1 == 1', 'JSON'),
        ('answer_within', true, '@ >= 1 && @ <= 150 && @ % 1 == 0', 'a whole number from 1 to 150'),
        ('secret', false, '@ like_regex "." && @ != "project_url"', 'the name of a Vault row that holds a key'),
        ('header', false, '@ like_regex "^[A-Za-z0-9-]+$" && !(@ like_regex "^(content-type|content-length|host|transfer-encoding|connection'
          '|expect|accept|user-agent)$" flag "i")', '"bearer", or letters, digits and -, and none that HTTP or pg_net sets itself')
      ) as rule (field, required, holds, must_be)
      full join (select key, count(*) as times from json_object_keys(fields) as key group by key) as given on key = field
      where case when field is null or times > 1 then true
        when required or times = 1 then (wanted @? format('strict $.%s ? (%s)', field, holds)::jsonpath) is not true end limit 1;
    exception when data_exception then problem := 'it must be {…} in JSON, on one line: ' || sqlerrm; end;
    problem := coalesce(problem, case when wanted ->> 'name' = any (names) then '"name" must differ from those above'
      when (line like '%,') = last then 'a comma must stand between two lines, and not after the last' end);
    if problem is not null then raise 'line % of the list: %', place, problem; end if;
    names := names || (wanted ->> 'name');
    -- A run gives up before statement_timeout ends it, with a tenth to spare (of 110 s: Supabase's own 2 min).
    needed := case when (wanted ->> 'answer_within')::numeric <= 50 then 120 else ceil(2.2 * (wanted ->> 'answer_within')::numeric + 11) end;
    if allowed > '0' and allowed < needed * interval '1 s' then
      raise 'line % of the list: a run needs up to % s, and statement_timeout ends those of role "%" after %', place, needed, current_user, allowed
        using detail = format('alter role %I in database %I set statement_timeout = ''%ss'';', current_user, current_database(), needed);
    end if;
    -- Another role's job of this name would go on calling with its old key.
    select jobid, schedule, username into present from cron.job where jobname = wanted ->> 'name' order by username = current_user limit 1;
    if present.username <> current_user then
      raise 'job "%" belongs to role "%": nothing was changed', wanted ->> 'name', present.username using detail =
        case present.username when 'supabase_admin' then 'Only Supabase support can remove it: ask them, then run this migration again.' else
        format('Remove it, then run this migration again: grant %1$I to %2$I; set role %1$I; select cron.unschedule(%3$L); reset role;',
          present.username, current_user, wanted ->> 'name') end;
    end if;
    -- create_secret would write a value in clear before it encrypts it; update_secret does not.
    perform vault.update_secret(vault.create_secret('', row_name, 'Cron jobs read this row each time they run. To rotate a key, update it.'),
      coalesce(current_setting('app.settings.' || row_name, true), ''))
    from unnest(array['project_url', coalesce(wanted ->> 'secret', 'service_role_key')]) as row_name
    where not exists (select from vault.secrets where name = row_name);
    -- A missing job is created; one that exists keeps its schedule, and that of the list is only checked. E'\r': a checkout on Windows.
    present.jobid := coalesce(present.jobid, cron.schedule(job_name := wanted ->> 'name', schedule := wanted ->> 'schedule', command := ''));
    perform cron.alter_job(job_id := present.jobid, schedule := s, command := replace(replace(current_setting('cron_vault.template'), E'\r', ''), '{}',
      replace((('{"secret": "service_role_key"}' || wanted) - '{name,schedule}'::text[])::text, '$', '\u0024')))
    from unnest(array[wanted ->> 'schedule', coalesce(present.schedule, wanted ->> 'schedule')]) as s;
  end loop;
end
$migration$;
reset cron_vault.list; reset cron_vault.template;
