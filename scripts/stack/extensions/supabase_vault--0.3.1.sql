-- Stand-in of supabase_vault 0.3.1: the same relations, functions, privileges and errors, in SQL over pgcrypto instead
-- of C over libsodium. The difference that matters: the root key lives in a table here, on disk beside the database there.

create table vault._root_key as select extensions.gen_random_bytes(32) as key;

create function vault._encrypt(message text, id uuid, nonce bytea) returns text
language sql stable security definer set search_path = '' as $$
  select pg_catalog.encode(extensions.hmac(pg_catalog.uuid_send(id) || nonce || data, key, 'sha256') || data, 'base64')
  from vault._root_key, lateral extensions.encrypt_iv(pg_catalog.convert_to(message, 'utf8'), key, nonce, 'aes') as data
$$;

create function vault._decrypt(message bytea, id uuid, nonce bytea) returns bytea
language plpgsql stable security definer set search_path = '' as $$
declare
  root bytea := (select key from vault._root_key);
  data bytea := substr(message, 33);
begin
  if substr(message, 1, 32) is distinct from extensions.hmac(uuid_send(id) || nonce || data, root, 'sha256') then
    raise exception 'pgsodium_crypto_aead_det_decrypt_by_id: invalid ciphertext' using errcode = '22000';
  end if;
  return extensions.decrypt_iv(data, root, nonce, 'aes');
end
$$;

create table vault.secrets (
  id uuid primary key default gen_random_uuid(),
  name text,
  description text not null default '',
  secret text not null,
  key_id uuid,
  nonce bytea default extensions.gen_random_bytes(16),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index secrets_name_idx on vault.secrets (name) where name is not null;

create view vault.decrypted_secrets as
select id, name, description, secret,
  convert_from(vault._decrypt(decode(secret, 'base64'), id, nonce), 'utf8') as decrypted_secret,
  key_id, nonce, created_at, updated_at
from vault.secrets;

create function vault.create_secret(
  new_secret text, new_name text default null, new_description text default '', new_key_id uuid default null
) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  created vault.secrets;
begin
  -- In clear first, as the real one does: whoever writes a secret this way leaves it in the heap and in the WAL.
  insert into vault.secrets (secret, name, description)
  values (new_secret, new_name, new_description) returning * into created;
  update vault.secrets set secret = vault._encrypt(new_secret, created.id, created.nonce) where id = created.id;
  return created.id;
end
$$;

create function vault.update_secret(
  secret_id uuid, new_secret text default null, new_name text default null, new_description text default null,
  new_key_id uuid default null
) returns void
language plpgsql security definer set search_path = '' as $$
declare
  present text := (select decrypted_secret from vault.decrypted_secrets where id = secret_id);
begin
  update vault.secrets as s
  set secret = case when new_secret is null then s.secret else vault._encrypt(new_secret, s.id, s.nonce) end,
    name = coalesce(new_name, s.name),
    description = coalesce(new_description, s.description),
    updated_at = now()
  where s.id = secret_id;
end
$$;

revoke execute on function vault.create_secret, vault.update_secret, vault._encrypt from public;
grant usage on schema vault to postgres, service_role;
grant select, delete on vault.secrets, vault.decrypted_secrets to postgres, service_role;
grant execute on function vault.create_secret, vault.update_secret to postgres, service_role;
