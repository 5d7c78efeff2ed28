import { startServer } from './stack/server.ts'
import { connect } from './lib/database.ts'
import { spawnSync } from 'node:child_process'
const s = await startServer()
console.log(s.url('postgres'))
let t = Date.now()
const r = spawnSync('node_modules/.bin/supabase', [...process.argv.slice(2), '--remote='+s.url('postgres'), '--yes'], {encoding:'utf8', stdio:'pipe', env: {...process.env}})
console.log(r.status, r.stdout, r.stderr, Date.now()-t)
const c = await connect(s.url('postgres'))
for (const q of ['select jobid, jobname, schedule, length(command), active from cron.job', 'select version, name from supabase_migrations.schema_migrations'])
  for (const r of (await c.query(q)).rows) console.log(...Object.values(r).map(String))
await c.end()
if (process.env.LOG) console.log(s.log())
await s.stop()
