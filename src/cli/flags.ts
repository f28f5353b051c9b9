/** citty passes flags it does not know; a mistyped flag must not start an agent without it. */
import type { ArgsDef } from "citty"
import { nearest } from "../manifest/suggest.ts"
import { usageError } from "../runtime/error.ts"

/** Throws a usage error for an unknown flag, a flag without its value, or one positional too many. */
export function checkFlags(command: string, argv: readonly string[], defined: ArgsDef): void {
  const flags = new Map<string, string>()
  let positionals = 0
  for (const [name, def] of Object.entries(defined)) {
    if (def.type === "positional") {
      positionals += 1
      continue
    }
    const aliases = "alias" in def && def.alias ? [def.alias].flat() : []
    for (const alias of aliases) flags.set(`-${alias}`, def.type ?? "string")
    flags.set(`--${name}`, def.type ?? "string")
  }
  let seen = 0
  for (let i = 0; i < argv.length; i += 1) {
    const arg = argv[i] ?? ""
    if (!arg.startsWith("-") || arg === "-") {
      seen += 1
      if (seen > positionals)
        throw usageError(`\`${command}\` does not take "${arg}"`, `See: ${command} --help`)
      continue
    }
    const [flag = ""] = arg.split("=")
    const type = flags.get(flag)
    if (type === undefined) {
      const near = nearest(flag, [...flags.keys()])
      throw usageError(
        `\`${command}\` has no option ${flag}`,
        near ? `Did you mean ${near}?` : `See: ${command} --help`,
      )
    }
    if (type === "boolean") {
      if (arg.includes("=")) throw usageError(`${flag} of \`${command}\` takes no value`)
      continue
    }
    if (arg.includes("=")) continue
    i += 1
    if (argv[i] === undefined)
      throw usageError(`${flag} of \`${command}\` needs a value`, `See: ${command} --help`)
  }
}
