/** One server for all test files: they work in databases of their own, copied from these two templates. */

import type { TestProject } from 'vitest/node'
import { endWithNpm } from './lifetime.ts'
import { type Server, startServer } from './server.ts'
import { migrate } from './stack.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    server: { dir: string; port: number }
  }
}

/** The databases that a test project is copied from. */
export async function templates(server: Server): Promise<void> {
  await server.createDatabase('fresh')
  await server.createDatabase('migrated', 'fresh')
  await migrate(server, 'migrated')
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  endWithNpm()
  const server = await startServer()
  await templates(server)
  project.provide('server', { dir: server.dir, port: server.port })
  return server.stop
}
