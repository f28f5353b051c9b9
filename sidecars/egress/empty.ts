/** A gateway that holds nothing: it refuses everything, and says with which command it is loaded again. */
import { showable } from "../../src/policy/denial.ts"
import { notLoaded } from "../../src/policy/denials.ts"
import { withoutQuery } from "./admit.ts"
import { HttpFault } from "./http1/fault.ts"
import { parseRequestHead, type RequestHead } from "./http1/head.ts"
import { readHead } from "./http1/read.ts"
import { HEAD_MS } from "./limits.ts"
import { refusalAnswer } from "./refusal.ts"
import type { Wire } from "./wire.ts"

/**
 * Answers one request and closes. A CONNECT is refused as it stands: without the bottle's authority there is no TLS in
 * which the refusal could be read.
 */
export async function refuseUnloaded(client: Wire, reload: string): Promise<void> {
  client.endAfter(HEAD_MS)
  let head: RequestHead | undefined
  try {
    const bytes = await readHead(client)
    if (bytes === undefined) return client.finish()
    head = parseRequestHead(bytes)
  } catch (error) {
    if (!(error instanceof HttpFault)) throw error
  }
  const what = head === undefined ? "request" : showable(`${head.method} ${withoutQuery(head.target)}`)
  const ask = `Ask the person who runs this bottle to run: ${reload}`
  client.write(refusalAnswer(503, { ...notLoaded({ identity: "", what }), ask }, head, true))
  client.finish()
}
