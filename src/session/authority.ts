/** The bottle's certificate authority on the host: minted with the bottle, kept 0600 in its state, gone with it. */
import { join } from "node:path"
import type { State } from "../bottle/state-folder.ts"
import { mintAuthority } from "../gateway/ca.ts"
import { readBounded, writeForNow } from "../runtime/durable-file.ts"

/** A certificate or key of ours is under 2 KB. */
const PEM_MAX = 16 * 1024

export interface BottleAuthority {
  /** PEM */
  cert: string
  /** PEM, secret */
  key: string
}

/** The authority in the state; a new one where there is none. */
export async function authorityOf(state: State): Promise<BottleAuthority> {
  const paths = { cert: join(state.gateway, "ca.pem"), key: join(state.gateway, "ca-key.pem") }
  const [cert, key] = await Promise.all([readBounded(paths.cert, PEM_MAX), readBounded(paths.key, PEM_MAX)])
  if (cert !== undefined && key !== undefined) return { cert: cert.toString(), key: key.toString() }
  const minted = await mintAuthority(state.identity)
  await Promise.all([writeForNow(paths.cert, minted.cert), writeForNow(paths.key, minted.key)])
  return { cert: minted.cert, key: minted.key }
}
