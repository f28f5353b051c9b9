/**
 * Placeholders stand in for credentials inside the sandbox. One that travels to a host it does not belong to means
 * that something tries to send the credential elsewhere: the request stops, whatever the route says.
 */
import { matchesHost } from "../../src/policy/host.ts"
import { decodeAscii } from "../../src/policy/path.ts"
import type { Policy } from "../../src/policy/schema.ts"
import type { Field } from "./http1/head.ts"

type Placeholders = Policy["placeholders"]

/**
 * The hosts of a placeholder that URL or fields (of a head or a trailer section) hold although it belongs to others
 * than `host`: as it is, percent-encoded or in Basic form. Undefined when there is none.
 */
export function hostsOfForeignPlaceholder(
  placeholders: Placeholders,
  host: string,
  message: { target: string; fields: readonly Field[] },
): readonly string[] | undefined {
  const { target, fields } = message
  for (const { value, hosts } of placeholders) {
    if (hosts.some((rule) => matchesHost(rule, host))) continue
    if (target.includes(value) || inFields(fields, value)) return hosts
    if (target.includes("%") && decodeAscii(target).includes(value)) return hosts
  }
  return undefined
}

function inFields(fields: readonly Field[], value: string): boolean {
  for (const field of fields) {
    if (field.value.includes(value) || field.name.includes(value)) return true
    if (field.value.includes("%") && decodeAscii(field.value).includes(value)) return true
    const basic = /^basic[ \t]+([A-Za-z0-9+/=_-]+)$/i.exec(field.value)
    if (basic !== null && Buffer.from(basic[1]!, "base64").toString("latin1").includes(value)) return true
  }
  return false
}
