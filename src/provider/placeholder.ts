/** What an agent holds in place of a credential. It is worth nothing: egress puts the real one on the request. */
import { createHash } from "node:crypto"

/**
 * A placeholder of that bottle for that credential: the prefix its client expects, a word for people who find it in a
 * file, and 32 characters that tell it from every other bottle's, so that egress knows it wherever it turns up.
 */
export function placeholder(prefix: string, seed: string, credential: string): string {
  const digest = createHash("sha256")
    .update(JSON.stringify(["bottle placeholder", seed, credential]))
    .digest("hex")
  return `${prefix}bottle-placeholder-${digest.slice(0, 32)}`
}
