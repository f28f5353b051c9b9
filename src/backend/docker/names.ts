/** How Docker's objects are named and labelled. Nothing is ever found by a prefix of its name, only by label. */
import { createHash } from "node:crypto"

export const LABEL_IDENTITY = "io.bottle.identity"
export const LABEL_ROLE = "io.bottle.role"
/** Digest over user and BOTTLE_HOME: another user's or another home's objects are not ours */
export const LABEL_HOME = "io.bottle.home"
export const LABEL_AGENT = "io.bottle.agent"
export const LABEL_STARTED = "io.bottle.started"
/** Comma-separated daemons of a gateway */
export const LABEL_DAEMONS = "io.bottle.daemons"

/** Value of LABEL_HOME for this user and home. */
export function homeDigest(home: string): string {
  const uid = process.getuid?.() ?? 0
  return createHash("sha256").update(`${uid}\0${home}`).digest("hex").slice(0, 16)
}

/** Names of one bottle's objects. */
export function namesOf(identity: string) {
  const project = `bottle-${identity}`
  return {
    project,
    agent: `${project}-agent`,
    sidecars: `${project}-sidecars`,
    volumes: {
      home: `${project}-home`,
      workspace: `${project}-workspace`,
      ledger: `${project}-ledger`,
      sock: `${project}-sock`,
    },
  }
}

/** The one outside network of a home; all its gateways are on it and cannot reach each other. */
export function networkOf(digest: string): string {
  return `bottle-outside-${digest}`
}
