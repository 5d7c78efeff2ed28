import { expect, test } from 'vitest'
import { script } from './stack/testing.ts'

test('the demo goes as told, and prints no key', async () => {
  const { code, out, err } = await script('demo', [])
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(out).not.toMatch(/eyJ[\w-]|sb_secret_|✗/)
  const story = [
    /odoo-crm-sync-incremental\s+succeeded\s+1 row[\s\S]*odoo-crm-sync\s+401/,
    /runs in the history that hold the stale key: 2 before, 0 after/,
    /failed\s+ERROR: {2}odoo-crm-sync: not called, Vault secret "service_role_key" is empty/,
    /failed\s+ERROR: {2}odoo-chatter-sync: HTTP 401/,
    /succeeded\s+DO[\s\S]*odoo-chatter-sync\s+200/,
    /A rotation[\s\S]*failed[\s\S]*vault\.update_secret[\s\S]*succeeded/,
    /the new key\s+tables: vault\.decrypted_secrets, where it belongs/,
    /All as told, in/
  ]
  for (const part of story) expect(out).toMatch(part)
})
