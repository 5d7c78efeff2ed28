/** Looks for a text in everything a database shows. */

import type pg from 'pg'

/**
 * The relations in which some row has one of the texts, in clear or inside a bytea: every table and view the session may
 * read, system catalogs and statistics included.
 * @returns a list of relations for each text, in the order of `texts`
 */
export async function search(session: pg.Client, texts: string[]): Promise<string[][]> {
  const { rows: relations } = await session.query<{ name: string; system: boolean }>(`
    select oid::regclass::text as name, relnamespace = 'pg_catalog'::regnamespace as system from pg_class
    where relkind in ('r', 'p', 'v', 'm') and has_table_privilege(oid, 'select')
      and has_schema_privilege(relnamespace, 'usage') and relnamespace <> 'pg_toast'::regnamespace
    order by 1`)
  const found: string[][] = texts.map(() => [])
  for (const { name, system } of relations) {
    // Some system views fail on some machines (pg_shmem_allocations_numa without NUMA).
    const { rows } = await session
      .query<{ nth: string }>(
        `with line as materialized (select t::text as line from ${name} as t) -- the rows of a view are made once
         select nth from unnest($1::text[]) with ordinality as wanted (text, nth)
         where exists (select from line where strpos(line, text) > 0
           or strpos(line, encode(convert_to(text, 'utf8'), 'hex')) > 0)`,
        [texts]
      )
      .catch((error) => {
        if (system) return { rows: [] }
        throw error
      })
    for (const { nth } of rows) found[Number(nth) - 1]?.push(name)
  }
  return found
}
