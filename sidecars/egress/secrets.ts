/** What must not come back from an upstream that got a credential. */
import type { RouteAuth } from "../../src/policy/schema.ts"
import { base64 } from "./outgoing.ts"

/** One array per credential: the scrubber compiles a set once per array. */
const known = new Map<string, readonly string[]>()

/** The credential in every form in which it was sent, and a Basic password on its own. */
export function secretsOf(scheme: RouteAuth["scheme"], secret: string): readonly string[] {
  const key = `${scheme === "basic" ? "basic" : "plain"} ${secret}`
  let secrets = known.get(key)
  if (secrets === undefined) {
    const colon = secret.indexOf(":")
    secrets = scheme === "basic" ? [secret, secret.slice(colon + 1), base64(secret)] : [secret]
    known.set(key, secrets)
  }
  return secrets
}
