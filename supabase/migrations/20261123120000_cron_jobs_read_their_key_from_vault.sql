-- Scheduled calls of edge functions: the key lives in Vault, and a call that fails is a failed run.
--
-- Changes: two Vault rows, service_role_key and project_url; the commands of the jobs in the list below; and, in
--   cron.job_run_details, the keys that old runs of these functions left behind.
-- Leaves alone: Vault rows that have a value; the id, schedule, database and active flag of a job that is there; every
--   other job; the rows, ids, times and statuses of the history.
-- Run it as postgres, as often as you like: whatever is there already, it ends the same.
-- To add a job, copy this file under a new timestamp, with one more line in its list.

set local statement_timeout = 0; -- for a history of millions of runs

create extension if not exists pg_cron;
create extension if not exists pg_net with schema extensions;
create extension if not exists supabase_vault;

do $migration$
declare
  -- answer_within: seconds the function may take, 50 at most (see give_up_after).
  jobs constant jsonb := $jobs$[
    {"name": "odoo-crm-sync-incremental", "schedule": "*/15 * * * *", "function": "odoo-crm-sync", "body": {"mode": "incremental"}, "answer_within": 50},
    {"name": "odoo-chatter-sync-hourly", "schedule": "0 * * * *", "function": "odoo-chatter-sync", "body": {"mode": "missing"}, "answer_within": 50}
  ]$jobs$;

  -- What a job runs, once its %placeholders% are filled in. Short, because pg_cron keeps a copy with every run.
  -- give_up_after: at least 2 * answer_within + 5, for another caller's slow request in pg_net's batch, and less than the
  -- statement_timeout of 2 minutes.
  template constant text := $template$do $job$
-- Calls %function% with key and URL from Vault. Fails, and says why, unless it answers 2xx.
declare
  answer_within constant numeric := %answer_within%; -- seconds
  give_up_after constant numeric := 110; -- seconds
  key text; url text; bad text[]; problem text;
  posted timestamptz; request bigint; waited numeric; answer record;
begin
  select
    (select decrypted_secret from vault.decrypted_secrets where name = 'service_role_key'),
    (select decrypted_secret from vault.decrypted_secrets where name = 'project_url')
  into key, url;
  bad := case
    when (key ~ '^[!-~]+$') is not true then array['service_role_key', key]
    when (url ~ '^(https://[a-z0-9.-]+(:[0-9]+)?|http://([a-z0-9-]+|[a-z0-9.-]+\.internal|127\.0\.0\.1)(:[0-9]+)?)/?$') is not true then array['project_url', url]
  end;
  if bad is not null then
    raise '%function%: not called, Vault secret "%" is %', bad[1],
      case when bad[2] is null then 'missing' when bad[2] = '' then 'empty' else 'malformed' end using hint = format(
      'select vault.update_secret(coalesce((select id from vault.secrets where name = %1$L), vault.create_secret('''', %1$L)), ''<value>'')', bad[1]);
  end if;

  posted := clock_timestamp();
  request := net.http_post(
    url := rtrim(url, '/') || '/functions/v1/%function%',
    headers := jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ' || key, 'apikey', key),
    body := %body%,
    timeout_milliseconds := (answer_within * 1000)::int);
  commit; -- pg_net sends only what is committed

  loop
    waited := extract(epoch from clock_timestamp() - posted);
    select * into answer from net._http_response
    where id = request and created > posted - interval '1 minute' -- indexed on created alone
    order by created desc limit 1;
    exit when found or waited >= give_up_after;
    commit; -- each look needs a new snapshot
    perform pg_sleep(least(greatest(0.02, 0.05 * waited), give_up_after - waited));
  end loop;

  if not found then
    delete from net.http_request_queue
    where id = (select id from net.http_request_queue where id = request for update skip locked);
    problem := case when found then 'not sent within %s s, request withdrawn' else 'sent, no response recorded within %s s' end;
    commit;
    raise '%function%: %', format(problem, give_up_after) using hint = 'select net.worker_restart()';
  elsif answer.timed_out then
    raise '%function%: no answer within % s (the function may still be running)', answer_within;
  elsif answer.status_code is null then
    raise '%function%: %', answer.error_msg;
  elsif answer.status_code not between 200 and 299 then
    begin
      problem := convert_from(convert_to(left(replace(answer.content, key, '[key]'), 500), 'utf8'), 'utf8'); -- checks it
    exception when character_not_in_repertoire then problem := 'not UTF-8';
    end;
    raise '%function%: HTTP %', concat_ws(' ', answer.status_code,
      replace(substring(answer.headers::text, '(?i)"sb-error-code": "([a-z0-9_-]+)"'), key, '[key]')) using detail = coalesce(problem, '');
  end if;
end
$job$$template$;

  -- What a literal key looks like in SQL text: a JWT or a secret key (or the start of one, cut off in an error message);
  -- and the token in 'Bearer …', within one string, joined to it, or put in by format().
  key_shape constant text := 'eyJ[\w-]{10,}(\.[\w-]*){0,2}|sb_secret_[\w-]+';
  bearer constant text := '(?i)bearer\s+(?:%s)?(?:''+\s*(?:\|\||,)\s*(?:''+|\$\w*\$))?([^\s''"\\$%<({][^\s''"\\$]{7,})(?=[''"\\$])';
  -- The same in an error message, where it may have no end.
  bearer_cut constant text := '(?i)(bearer\s+)[^\s''"\\]{8,}';

  job record;
  secret record;
  secret_id uuid;
  present text;
  ids bigint[];
  calls text;
begin
  -- 1. A job of the same name that another role owns would go on calling with the stale key, beside the new one.
  for job in
    select jobname, username, format('grant %1$I to %2$I; set role %1$I; select cron.unschedule(%3$L); reset role;',
      username, current_user, jobname) as way_out
    from cron.job where jobname in (select value ->> 'name' from jsonb_array_elements(jobs)) and username <> current_user
  loop
    raise exception 'job "%" belongs to role "%": nothing was changed', job.jobname, job.username using detail = case job.username
      when 'supabase_admin' then 'Only Supabase support can remove it: ask them to unschedule it, then run this migration again.'
      else format('Remove it, then run this migration again: %s', job.way_out) end;
  end loop;

  -- 2. The two Vault rows. create_secret would write a value in clear before it encrypts it; update_secret does not.
  for secret in
    select name, description, nullif(current_setting('app.settings.' || name, true), '') as value
    from (values
      ('service_role_key', 'The key that the cron jobs send to edge functions. To rotate it, update this row: the next run uses it.'),
      ('project_url', 'Where the cron jobs find the edge functions: https://<ref>.supabase.co. The next run reads it anew.')
    ) as row (name, description)
  loop
    select id into secret_id from vault.secrets where name = secret.name;
    if not found then
      secret_id := vault.create_secret(new_secret := '', new_name := secret.name, new_description := secret.description);
    end if;
    begin
      select decrypted_secret into present from vault.decrypted_secrets where id = secret_id;
    exception when data_exception then
      raise warning 'Vault secret "%" cannot be decrypted and was left as it is. Replace it: delete from vault.secrets where name = %; '
        'select vault.update_secret(vault.create_secret('''', %), ''<value>'');',
        secret.name, quote_literal(secret.name), quote_literal(secret.name);
      continue;
    end;
    perform vault.update_secret(id, new_description := secret.description)
    from vault.secrets where id = secret_id and description = '';
    if present <> '' then
      continue;
    elsif secret.value is not null then
      perform vault.update_secret(secret_id, new_secret := secret.value);
    else
      raise warning 'Vault secret "%" is empty, and the jobs fail until it is filled: '
        'select vault.update_secret(id, ''<value>'') from vault.secrets where name = %;', secret.name, quote_literal(secret.name);
    end if;
  end loop;

  -- 3. The jobs.
  for job in
    select wanted.name, wanted.schedule, wanted.answer_within::numeric as answer_within, present.jobid, replace(replace(replace(template,
      '%function%', wanted.function), '%body%', quote_literal(wanted.body)), '%answer_within%', wanted.answer_within) as command
    from jsonb_to_recordset(jobs) as wanted (name text, schedule text, function text, body text, answer_within text)
    left join cron.job as present on present.jobname = wanted.name
  loop
    if job.command is null or job.name is null or job.schedule is null or job.answer_within not between 1 and 50 then
      raise exception 'the line of job "%" in the list is not right', job.name
        using detail = 'It has a name, a schedule, a function, a body, and answer_within from 1 to 50.';
    elsif job.jobid is null then
      perform cron.schedule(job_name := job.name, schedule := job.schedule, command := job.command);
    else
      perform cron.alter_job(job_id := job.jobid, command := job.command);
    end if;
  end loop;

  for job in
    select jobid, jobname from cron.job
    where (command ~ key_shape or command ~ bearer)
      and coalesce(jobname, '') not in (select value ->> 'name' from jsonb_array_elements(jobs))
  loop
    raise warning 'job % (%) carries a literal key in its command: read it from Vault instead',
      job.jobid, coalesce(job.jobname, 'without a name');
  end loop;

  -- 4. The keys in the history of these jobs and functions: what stands after Bearer, wherever it stands in that row, and
  -- whatever has the shape of a key. A run in progress is left alone: a lock on its row stops pg_cron's launcher, and with
  -- it every job of the database, until this commits.
  select array_agg(jobid) into ids from cron.job where jobname in (select value ->> 'name' from jsonb_array_elements(jobs));
  select format('[/''](%s)(?![\w-])', string_agg(value ->> 'function', '|')) into calls from jsonb_array_elements(jobs);

  with text as materialized ( -- each command and message once: a million runs have few of them, and comparing is costly
    select command, return_message, coalesce(jobid = any (ids), false) as ours, array_agg(ctid) as places
    from cron.job_run_details where status in ('succeeded', 'failed') group by 1, 2, 3
  ),
  redacted as materialized (
    select text.*, regexp_replace(command, pattern, '[key]', 'g') as new_command,
      regexp_replace(regexp_replace(return_message, pattern, '[key]', 'g'), bearer_cut, '\1[key]', 'g') as new_message
    from text,
    lateral (
      -- A token counts by its first 8 characters: error messages cut it off.
      select concat_ws('|', string_agg(regexp_replace(left(token[1], 8), '\W', '\\\&', 'g') || '[^\s''"\\]*', '|'), key_shape) as pattern
      from regexp_matches(command, bearer, 'g') as token
    ) as literal
    where ours or command ~ calls
  )
  update cron.job_run_details as run set command = new_command, return_message = new_message
  from (
    select unnest(places) as place, new_command, new_message from redacted
    where (command, return_message) is distinct from (new_command, new_message)
    order by place -- reads the table in its own order
  ) as changed
  where run.ctid = place;
end
$migration$;
