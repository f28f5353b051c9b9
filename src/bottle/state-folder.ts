/** Where one bottle's state lies, and what counts as one: `$BOTTLE_HOME/state/<identity>/`. */
import { lstat, mkdir } from "node:fs/promises"
import { dirname, join } from "node:path"
import { fileError } from "../runtime/durable-file.ts"
import { BottleError, usageError } from "../runtime/error.ts"
import { currentUid } from "../runtime/process-owner.ts"
import { parseIdentity } from "./identity.ts"

export interface State {
  /** `$BOTTLE_HOME`, absolute */
  home: string
  identity: string
  /** The folder, absolute, mode 0700 */
  dir: string
  /** `metadata.json`: written last when a bottle is made */
  metadata: string
  /** `policy.yaml`: the policy for people and for resume */
  policy: string
  /** Head of the ledger as the host remembers it, with its authentication code */
  ledgerHead: string
  /** Folder of what was provisioned into the sandbox */
  agent: string
  /** Folder of the gateway's own things: authority, keys */
  gateway: string
  /** Folder of the ledger's segments */
  ledger: string
  /** Folder of the logs of both containers or processes */
  log: string
  /** Folder of recorded sessions */
  transcript: string
  /** Folder of the workspace */
  workspace: string
  /** Marker: this state is kept until the user removes it */
  preserveMarker: string
  /** Lock file, beside the folder: it is there before the folder and after it, so that neither end has a gap */
  lockFile: string
}

/** The subfolders of a state folder. */
export const STATE_FOLDERS = ["agent", "gateway", "ledger", "log", "transcript", "workspace"] as const

export function stateRoot(home: string): string {
  return join(home, "state")
}

/** The places of that identity's state; touches nothing. Refuses what is not an identity, and so no path either. */
export function stateOf(home: string, identity: string): State {
  if (parseIdentity(identity) === undefined) {
    throw usageError(
      `${JSON.stringify(identity.slice(0, 80))} is not the identity of a bottle`,
      "An identity looks like `<agent>-x1y2z`: `bottle list active` shows them",
    )
  }
  const root = stateRoot(home)
  const dir = join(root, identity)
  return {
    home,
    identity,
    dir,
    metadata: join(dir, "metadata.json"),
    policy: join(dir, "policy.yaml"),
    ledgerHead: join(dir, "ledger-head.json"),
    agent: join(dir, "agent"),
    gateway: join(dir, "gateway"),
    ledger: join(dir, "ledger"),
    log: join(dir, "log"),
    transcript: join(dir, "transcript"),
    workspace: join(dir, "workspace"),
    preserveMarker: join(dir, ".preserve"),
    lockFile: join(root, `${identity}.lock`),
  }
}

/** Makes `$BOTTLE_HOME/state` where it is missing, and checks that it is a folder of this user's own. */
export async function ensureStateRoot(home: string): Promise<string> {
  const root = stateRoot(home)
  try {
    await mkdir(dirname(root), { recursive: true, mode: 0o700 })
    await mkdir(root, { mode: 0o700 }).catch((error) => {
      if (error.code !== "EEXIST") throw error
    })
  } catch (error) {
    throw fileError(`Could not make ${root}`, error)
  }
  const fault = await folderFault(root)
  if (fault === undefined) return root
  throw new BottleError({
    what: `${root} cannot be used`,
    why: fault,
    next: "Move it away, or set BOTTLE_HOME to another folder",
  })
}

/**
 * Why that path is not a folder of this user's own; undefined when it is. A symbolic link is not: what is written or
 * removed through it would lie elsewhere.
 */
export async function folderFault(path: string): Promise<string | undefined> {
  const about = await lstat(path)
  if (about.isSymbolicLink()) return "it is a symbolic link"
  if (!about.isDirectory()) return "it is not a folder"
  const uid = currentUid()
  return uid >= 0 && about.uid !== uid ? `it belongs to the user with id ${about.uid}` : undefined
}
