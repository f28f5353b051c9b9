/**
 * Placeholders stand in for credentials inside the sandbox. One that travels to a host it does not belong to means
 * that something tries to send the credential elsewhere: the request stops, whatever the route says.
 */
import { matchesHost } from "../../src/policy/host.ts"
import { decodeAscii } from "../../src/policy/path.ts"
import type { Policy } from "../../src/policy/schema.ts"
import type { Field, RequestHead } from "./http1/head.ts"

type Placeholders = Policy["placeholders"]

/** Whether the URL or a header holds a placeholder of another host, as it is, percent-encoded or in Basic form. */
export function holdsForeignPlaceholder(
  placeholders: Placeholders,
  host: string,
  head: RequestHead,
): boolean {
  for (const { value, hosts } of placeholders) {
    if (hosts.some((rule) => matchesHost(rule, host))) continue
    if (head.target.includes(value)) return true
    if (head.target.includes("%") && decodeAscii(head.target).includes(value)) return true
    if (inFields(head.fields, value)) return true
  }
  return false
}

/** The same for a trailer section. */
export function trailersHoldPlaceholder(
  placeholders: Placeholders,
  host: string,
  fields: readonly Field[],
): boolean {
  return placeholders.some(
    ({ value, hosts }) => !hosts.some((rule) => matchesHost(rule, host)) && inFields(fields, value),
  )
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
