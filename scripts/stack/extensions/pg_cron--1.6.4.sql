-- Stand-in of pg_cron 1.6.4: the tables and functions; workers/cron.ts runs what is due.

create schema cron;
create sequence cron.jobid_seq;
create sequence cron.runid_seq;

create table cron.job (
  jobid bigint primary key default nextval('cron.jobid_seq'),
  schedule text not null,
  command text not null,
  nodename text not null default 'localhost',
  nodeport int not null default inet_server_port(),
  database text not null default current_database(),
  username text not null default current_user,
  active boolean not null default true,
  jobname text,
  constraint jobname_username_uniq unique (jobname, username)
);
alter table cron.job enable row level security;
create policy cron_job_policy on cron.job using (username = current_user);

create table cron.job_run_details (
  jobid bigint,
  runid bigint primary key default nextval('cron.runid_seq'),
  job_pid integer,
  database text,
  username text,
  command text,
  status text,
  return_message text,
  start_time timestamptz,
  end_time timestamptz
);
alter table cron.job_run_details enable row level security;
create policy cron_job_run_details_policy on cron.job_run_details using (username = current_user);

-- Five fields (pg_cron ignores what follows), or '1 second' to '59 seconds'. A field is a list of *, n and n-m, the first and the last with
-- /step, and numbers within its range; months and days of the week have names, and $ is the last day of a month.
create function cron._check_schedule(schedule text) returns void
language plpgsql as $$
declare
  fields text[] := regexp_split_to_array(btrim(lower(schedule), E' \t\n'), '[ \t\n]+');
  ranges constant int[] := array[[0, 59], [0, 23], [1, 31], [1, 12], [0, 7]];
  names constant text[] := array['', '', '', 'jan feb mar apr may jun jul aug sep oct nov dec', 'sun mon tue wed thu fri sat'];
  part text;
  name text;
  n int;
  found text[];
  fine boolean := cardinality(fields) >= 5;
begin
  if schedule ~* '^\s*([1-9]|[1-5][0-9])\s+seconds?\s*$' then
    return;
  end if;
  for at in 1 .. case when fine then 5 else 0 end loop
    foreach part in array string_to_array(fields[at], ',') loop
      for name, n in select * from regexp_split_to_table(names[at], ' ') with ordinality as named loop
        part := case when name = '' then part else regexp_replace(part, '\m' || name || '\M', (n - 1 + ranges[at][1])::text, 'g') end;
      end loop;
      found := regexp_match(part, '^(?:\*|([0-9]{1,4})(?:-([0-9]{1,4}))?)(?:/([0-9]{1,4}))?$');
      fine := fine and (part = '$' and at = 3 or found is not null
        and coalesce(found[1]::int between ranges[at][1] and ranges[at][2], true)
        and coalesce(found[2]::int between ranges[at][1] and ranges[at][2], true)
        and (found[3] is null or found[3]::int > 0 and (found[1] is null or found[2] is not null)));
    end loop;
  end loop;
  if not coalesce(fine, false) then
    raise exception 'invalid schedule: %', schedule using errcode = 'invalid_parameter_value',
      hint = 'Use cron format (e.g. 5 4 * * *), or interval format ''[1-59] seconds''';
  end if;
end
$$;

-- The public functions run as the caller and hand the caller's name to these, which may write.
create function cron._schedule(caller text, job_name text, schedule text, command text) returns bigint
language plpgsql security definer set search_path = 'pg_catalog' as $$
declare
  id bigint;
begin
  perform cron._check_schedule(schedule);
  insert into cron.job (schedule, command, username, jobname, nodeport)
  values (schedule, command, caller, job_name, current_setting('port')::int)
  on conflict on constraint jobname_username_uniq
  do update set schedule = excluded.schedule, command = excluded.command, database = excluded.database
  returning jobid into id;
  return id;
end
$$;

create function cron._alter_job(caller text, job_id bigint, new_schedule text, new_command text, new_database text,
  new_active boolean) returns void
language plpgsql security definer set search_path = 'pg_catalog' as $$
begin
  if new_schedule is not null then
    perform cron._check_schedule(new_schedule);
  end if;
  update cron.job
  set schedule = coalesce(new_schedule, schedule), command = coalesce(new_command, command),
    database = coalesce(new_database, database), active = coalesce(new_active, active)
  where jobid = job_id and username = caller;
  if not found then
    raise exception 'Job % does not exist or you don''t own it', job_id using errcode = 'internal_error';
  end if;
end
$$;

create function cron._unschedule(caller text, job_id bigint, job_name text) returns boolean
language plpgsql security definer set search_path = 'pg_catalog' as $$
begin
  delete from cron.job where (jobid = job_id or jobname = job_name) and username = caller;
  if not found then
    raise exception 'could not find valid entry for job %', coalesce(job_id::text, quote_literal(job_name)) using errcode = 'internal_error';
  end if;
  return true;
end
$$;

create function cron.schedule(job_name text, schedule text, command text) returns bigint
language sql as $$ select cron._schedule(current_user, job_name, schedule, command) $$;

create function cron.schedule(schedule text, command text) returns bigint
language sql as $$ select cron._schedule(current_user, null, schedule, command) $$;

create function cron.unschedule(job_id bigint) returns boolean
language sql as $$ select cron._unschedule(current_user, job_id, null) $$;

create function cron.unschedule(job_name text) returns boolean
language sql as $$ select cron._unschedule(current_user, null, job_name) $$;

create function cron.alter_job(job_id bigint, schedule text default null, command text default null,
  database text default null, username text default null, active boolean default null) returns void
language plpgsql as $$
begin
  if username is not null then
    raise exception 'the stand-in of pg_cron cannot change a job''s username' using errcode = 'feature_not_supported';
  end if;
  if num_nonnulls(schedule, command, database, active) = 0 then
    raise exception 'no updates specified' using hint = 'You must specify at least one job attribute to change when calling alter_job';
  end if;
  perform cron._alter_job(current_user, job_id, schedule, command, database, active);
end
$$;

create function cron.schedule_in_database(job_name text, schedule text, command text, database text,
  username text default null, active boolean default true) returns bigint
language plpgsql as $$
declare
  id bigint;
begin
  if username is not null then
    raise exception 'the stand-in of pg_cron cannot schedule a job of another role' using errcode = 'feature_not_supported';
  end if;
  id := cron._schedule(current_user, job_name, schedule, command);
  perform cron._alter_job(current_user, id, null, null, database, active);
  return id;
end
$$;

create function cron._log(message text) returns void
language plpgsql as $$ begin raise log '%', message; end $$;
revoke execute on function cron._log from public;

-- The real extension grants this to PUBLIC; what postgres gets comes from supautils: see bootstrap.sql.
grant select on all sequences in schema cron to public;
grant select on cron.job to public;
grant select, delete on cron.job_run_details to public;
