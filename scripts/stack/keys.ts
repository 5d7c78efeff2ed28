/** Keys for the embedded stack and the tests, made anew each time: nothing that opens anything. */

import { createHmac, randomBytes } from 'node:crypto'
import type { Claims } from '../lib/keys.ts'

const part = (value: object | Buffer) =>
  (Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))).toString('base64url')

/** A legacy key: an HS256 JWT under a secret that is thrown away. `role` is service_role unless given. */
export function legacyKey(claims: Claims = {}): string {
  const payload = { iss: 'supabase', role: 'service_role', jti: part(randomBytes(9)), exp: 4102444800, ...claims }
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(payload)}`
  return `${signed}.${part(createHmac('sha256', randomBytes(32)).update(signed).digest())}`
}

/** A new secret key. */
export const secretKey = (): string => `sb_secret_${part(randomBytes(24))}`
