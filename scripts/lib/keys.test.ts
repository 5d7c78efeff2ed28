import { expect, test } from 'vitest'
import { legacyKey, secretKey } from '../stack/keys.ts'
import { describe, fingerprint, kind, problem } from './keys.ts'

test('a key is known by its shape', () => {
  expect(kind(legacyKey())).toBe('legacy service_role')
  expect(kind(legacyKey({ role: 'anon' }))).toBe('anon')
  expect(kind(legacyKey({ role: 'authenticated' }))).toBe('other JWT')
  expect(kind(secretKey())).toBe('secret')
  expect(kind('sb_publishable_x')).toBe('publishable')
  expect(kind('eyJ.not.json')).toBe('opaque')
  expect(kind('s3cret')).toBe('opaque')
})

test('a key is shown by kind and fingerprint alone', () => {
  expect(fingerprint('abc')).toBe('ba7816bf') // the first 8 digits of SHA-256("abc")
  const key = secretKey()
  expect(describe(key)).toBe(`secret key ${fingerprint(key)}`)
})

test.each([
  ['', /empty/],
  [`${secretKey()}\n`, /white space/],
  ['sb_secret_ x', /white space/],
  ['sb_secret_é', /printable ASCII/],
  ['sb_publishable_x', /publishable/],
  [legacyKey({ role: 'anon' }), /anon key/],
  [legacyKey({ role: 'authenticated' }), /role is "authenticated"/]
])('a key that the jobs cannot send is named by its problem (%#)', (key, expected) => {
  expect(problem(key)).toMatch(expected)
})

test.each([legacyKey(), secretKey(), 'an-opaque-key'])('a key that the jobs can send has no problem (%#)', (key) => {
  expect(problem(key)).toBeUndefined()
})
