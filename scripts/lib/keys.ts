/** API keys: what kind a key is, whether it can be the one the jobs send, and how to name it without showing it. */

import { createHash } from 'node:crypto'

export type KeyKind = 'legacy service_role' | 'secret' | 'opaque' | 'anon' | 'publishable' | 'other JWT'

/** The claims of a legacy key that matter here. `exp` is in seconds since 1970. */
export interface Claims {
  role?: string
  ref?: string
  exp?: number
}

/** The payload of a JWT, its signature unchecked; undefined where the text is no JWT. */
export function claims(key: string): Claims | undefined {
  const [header, payload, signature, more] = key.split('.')
  if (!header?.startsWith('eyJ') || !payload || signature === undefined || more !== undefined) return undefined
  try {
    const parsed: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
    return typeof parsed === 'object' && parsed !== null ? (parsed as Claims) : undefined
  } catch {
    return undefined
  }
}

/** The kind of a key, by its shape: legacy keys are JWTs with a role, new ones carry a prefix. */
export function kind(key: string): KeyKind {
  if (key.startsWith('sb_secret_')) return 'secret'
  if (key.startsWith('sb_publishable_')) return 'publishable'
  const role = claims(key)?.role
  if (role === 'service_role') return 'legacy service_role'
  if (role === 'anon') return 'anon'
  return claims(key) ? 'other JWT' : 'opaque'
}

/** First 8 hex digits of the key's SHA-256: the dashboard shows the digests of function secrets, so they compare. */
export const fingerprint = (key: string): string => createHash('sha256').update(key).digest('hex').slice(0, 8)

/** How a key is shown: its kind and its fingerprint. */
export const describe = (key: string): string => `${kind(key)} key ${fingerprint(key)}`

/** Why this cannot be the key that the jobs send, in words for the person who gave it; undefined where it can. */
export function problem(key: string): string | undefined {
  if (key === '') return 'it is empty'
  if (/\s/.test(key)) return 'it has white space in it (a line break from copying?)'
  if (!/^[!-~]+$/.test(key)) return 'it has a character that is not printable ASCII'
  const is = kind(key)
  if (is === 'anon' || is === 'publishable')
    return `it is the ${is} key: edge functions called by a cron job want the service_role key or a secret key`
  if (is === 'other JWT') return `it is a JWT whose role is "${claims(key)?.role ?? 'missing'}", not "service_role"`
  return undefined
}
