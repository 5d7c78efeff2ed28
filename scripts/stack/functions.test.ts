import { afterAll, beforeAll, expect, test } from 'vitest'
import { type EdgeFunctions, startEdgeFunctions } from './functions.ts'
import { secretKey } from './keys.ts'

let functions: EdgeFunctions
const key = secretKey()
beforeAll(async () => {
  functions = await startEdgeFunctions(key)
})
afterAll(() => functions.stop())

const post = (path: string, body: string, bearer = '') =>
  fetch(functions.url + path, { method: 'POST', body, headers: { authorization: `Bearer ${bearer}` } })
const call = async (bearer: string) => (await post('/functions/v1/odoo-chatter-sync', '{}', bearer)).status

test('a function answers its own key with 200, and another with 401', async () => {
  expect([await call(key), await call(secretKey())]).toEqual([200, 401])
})

test('a function that is not there is a 404', async () => {
  expect((await post('/functions/v1/nobody', '{}', key)).status).toBe(404)
})

test('functions can be told to take a new key', async () => {
  const next = secretKey()
  await post('/stand-in', JSON.stringify({ key: next }))
  expect([await call(key), await call(next)]).toEqual([401, 200])
  functions.key = key
})

test('a function can be told to fail, and to be slow', async () => {
  await post('/stand-in', '{"function": "odoo-chatter-sync", "status": 503, "delay": 300}')
  const began = Date.now()
  expect(await call(key)).toBe(503)
  expect(Date.now() - began).toBeGreaterThanOrEqual(295)
})

test('what cannot be told is a 400', async () => {
  for (const wish of ['?', '{}', '{"key": "a b"}']) expect((await post('/stand-in', wish)).status).toBe(400)
})
