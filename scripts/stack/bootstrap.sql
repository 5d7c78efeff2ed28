-- What a fresh Supabase database has, as far as this project touches it. Run by supabase_admin, in every new database.

do $roles$
begin
  if not exists (select from pg_roles where rolname = 'postgres') then
    create role anon nologin;
    create role authenticated nologin;
    create role service_role nologin bypassrls;
    create role postgres login createrole createdb replication bypassrls password 'postgres';
    grant anon, authenticated, service_role to postgres with admin option;
    grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
    alter role postgres set statement_timeout = '2min';
    alter role supabase_admin password 'postgres';
    grant set on parameter log_min_messages to postgres; -- supautils lets postgres set it, and no other logging parameter
  end if;
  execute format('alter database %I owner to postgres', current_database());
end
$roles$;

create schema extensions;
create schema vault;
create schema auth;
create schema storage;
create schema realtime;
grant usage on schema extensions, auth, storage, realtime to postgres, anon, authenticated, service_role;
grant create on schema extensions to postgres;

-- Stand-in of supautils' script for pg_cron. It runs after each "create extension [if not exists] pg_cron", where pg_cron exists, too; it
-- fails (2BP01) where postgres has granted cron.job to another role.
create function extensions.after_create_pg_cron() returns event_trigger
language plpgsql security definer set search_path = '' as $after_create$
begin
  if exists (select from pg_catalog.pg_event_trigger_ddl_commands() where object_type = 'extension' and object_identity = 'pg_cron')
    or pg_catalog.to_regclass('cron.job') is not null and pg_catalog.current_query() ~* 'create\s+extension\s+if\s+not\s+exists\s+"?pg_cron'
  then
    grant usage on schema cron to postgres with grant option;
    grant all on all functions in schema cron to postgres with grant option;
    grant all on all tables in schema cron to postgres with grant option;
    revoke all on table cron.job from postgres;
    grant select on table cron.job to postgres with grant option;
  end if;
end
$after_create$;
create event trigger after_create_pg_cron on ddl_command_end when tag in ('CREATE EXTENSION')
  execute function extensions.after_create_pg_cron();

create extension pgcrypto with schema extensions;
create extension "uuid-ossp" with schema extensions;
create extension pg_stat_statements with schema extensions;
create extension supabase_vault with schema vault;
