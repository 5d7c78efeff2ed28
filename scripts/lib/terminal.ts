/** What every command does at the terminal: arguments, colours, errors, exit codes. */

import { type ParseArgsConfig, parseArgs, styleText } from 'node:util'

/** An error that is the user's to mend: printed without a stack trace. `code` 2 means wrong use. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly code: 1 | 2 = 1
  ) {
    super(message)
  }
}

const colours = process.stdout.isTTY && process.env.NO_COLOR === undefined && process.env.TERM !== 'dumb'

/** Colours a text where standard output is a terminal that has colours. */
export const style = (format: Parameters<typeof styleText>[0], text: string): string =>
  colours ? styleText(format, text) : text

/**
 * Reads the arguments of a command: `options`, --help, which prints `help` and ends, and so many positionals.
 * @throws Failure with code 2 for an unknown option, too many arguments, or a key given as an argument
 */
export function readArguments<const T extends NonNullable<ParseArgsConfig['options']>>(
  help: string,
  options: T,
  positionals: 0 | 1 = 0
) {
  const args = process.argv.slice(2)
  if (args.some((arg) => /eyJ[\w-]{10,}\.|sb_secret_/.test(arg)))
    throw new Failure('a key does not belong in the arguments, where every user of this machine can read it', 2)
  const all = { help: { type: 'boolean', short: 'h' }, ...options } as const
  try {
    const parsed = parseArgs({ args, options: all, allowPositionals: true })
    if ((parsed.values as { help?: boolean }).help) {
      process.stdout.write(`${help.trim()}\n`)
      process.exit(0)
    }
    if (parsed.positionals.length > positionals)
      throw new Error(`unexpected argument '${parsed.positionals[positionals]}': a database is named with --db-url`)
    return parsed
  } catch (error) {
    throw new Failure(`${(error as Error).message}\n\n${help.trim()}`, 2)
  }
}

/** Runs a command: what it throws is printed as one message and becomes the exit code; DEBUG=1 adds the stack trace. */
export async function main(command: () => Promise<number>): Promise<void> {
  process.stdout.on('error', () => {}) // the reader of a pipe went away: the work goes on, the exit code tells
  try {
    process.exitCode = await command()
  } catch (error) {
    const failure = error instanceof Error ? error : new Error(String(error))
    process.stderr.write(`Error: ${failure.message}\n`)
    if (process.env.DEBUG) process.stderr.write(`${failure.stack}\n`)
    process.exitCode = failure instanceof Failure ? failure.code : 1
  }
}
