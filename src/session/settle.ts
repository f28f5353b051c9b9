/** What happens to a bottle whose agent has ended: nothing to lose and it goes, anything else and it is kept. */
import type { Backend, Remains } from "../backend/types.ts"
import {
  type HeldState,
  isPreserved,
  lockState,
  preserve,
  readMetadata,
  reapable,
  removeState,
  writeMetadata,
} from "../bottle/state.ts"
import type { State } from "../bottle/state-folder.ts"
import { showable } from "../policy/denial.ts"
import { readBounded } from "../runtime/durable-file.ts"
import { lockHolder } from "../runtime/lock-file.ts"
import { currentOwner } from "../runtime/process-owner.ts"

/** Longest reason that is shown, in characters, and the largest file of one, in bytes. */
const REASON_MAX = 400
const REASON_MAX_BYTES = 4096

export interface Settled {
  kept: boolean
  /** Why it was kept, safe to show; empty when it was not */
  reason: string
}

/** `code` is the agent's exit status as its sandbox left it; absent, what inner said counts. */
export async function settleBottle(
  backend: Backend,
  state: HeldState,
  code: number | undefined,
): Promise<Settled> {
  if ((await reapable(state)).reap) return discard(backend, state)
  const metadata = await readMetadata(state)
  // Kept by an earlier end, and no agent has run since: that end has decided.
  const decided = metadata?.phase !== "running" && (await isPreserved(state))
  const remains = await backend.collect(state.identity, { ledger: state.ledger, log: state.log })
  const reason = decided ? await reasonBefore(state) : reasonToKeep(code, remains)
  if (reason === "") return discard(backend, state)
  if (metadata !== undefined) {
    await writeMetadata(state, {
      ...metadata,
      phase: "ended",
      owner: await currentOwner(),
      ...(remains.exit ? { exit: { ...remains.exit, at: new Date().toISOString() } } : {}),
    })
  }
  if (!decided) await preserve(state, reason)
  await backend.remove(state.identity, { keepWork: true })
  return { kept: true, reason }
}

async function discard(backend: Backend, state: HeldState): Promise<Settled> {
  await backend.remove(state.identity, { keepWork: false })
  // One that was resumed still has the mark of its earlier end.
  await removeState(state, { preserved: true })
  return { kept: false, reason: "" }
}

async function reasonBefore(state: State): Promise<string> {
  const text = (await readBounded(state.preserveMarker, REASON_MAX_BYTES))?.toString("utf8").trim()
  return showable(text || "it was kept before", REASON_MAX)
}

/**
 * Settles an ended bottle that several may be looking at: everyone attached to it, and whoever stops it. Undefined when
 * another one is at it, or has done it.
 */
export async function settleOnce(
  backend: Backend,
  state: State,
  code: number | undefined,
): Promise<Settled | undefined> {
  const held = await lockUnlessHeld(state)
  if (held === undefined) return undefined
  using _ = held
  return (await readMetadata(held)) === undefined ? undefined : settleBottle(backend, held, code)
}

/** Undefined when another process has it. One that let go between the attempt and the look at it is tried once more. */
async function lockUnlessHeld(state: State): Promise<HeldState | undefined> {
  try {
    return await lockState(state)
  } catch {
    return (await lockHolder(state.lockFile)) === undefined ? lockState(state) : undefined
  }
}

function reasonToKeep(code: number | undefined, { exit }: Remains): string {
  if (exit === undefined) return "how its agent ended was not seen"
  const status = code ?? exit.code
  if (status !== 0) return `its agent ended with ${status}`
  // It names the agent's own files, and the sandbox says it.
  if (exit.workspace.verdict === "kept-work")
    return showable(exit.workspace.detail, REASON_MAX) || "it holds work"
  return ""
}
