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
    -- supautils lets postgres set these on Supabase.
    grant set on parameter log_statement, log_min_duration_statement, log_parameter_max_length to postgres;
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

create extension pgcrypto with schema extensions;
create extension "uuid-ossp" with schema extensions;
create extension pg_stat_statements with schema extensions;
create extension supabase_vault with schema vault;
