/** Whether bottles can run here on bubblewrap, by questions that take some milliseconds. */
import type { Limits } from "../../manifest/types.ts"
import { programOnPath, thisMachine } from "../../runtime/machine.ts"
import type { BackendProbe } from "../types.ts"
import { limitsHere } from "./limits.ts"
import { bubblewrapNeeds } from "./needs.ts"

/** What bubblewrap cannot promise, in one line of every preflight; docs/limitations.md has the rest. */
const SHARED_KERNEL = "shares this machine's kernel: a hole in it is a hole in the wall"

export async function probeBubblewrap(limits: Limits = {}, signal?: AbortSignal): Promise<BackendProbe> {
  const needs = await bubblewrapNeeds(signal)
  const unmet = needs.find((need) => need.required && !need.ok)
  if (unmet !== undefined) {
    return {
      available: false,
      reason: `bubblewrap: ${unmet.name}: ${unmet.found}`,
      next: unmet.mend === "" ? "See: bottle doctor" : `Run: ${unmet.mend}`,
      found: "",
      runtime: "",
      notes: [],
    }
  }
  const version = needs.find((need) => need.name === "bwrap")?.found.split(",")[0] ?? ""
  return {
    available: true,
    reason: "",
    next: "",
    found: `bubblewrap ${version}`,
    runtime: "",
    notes: [SHARED_KERNEL, ...limitsHere(limits).notes],
  }
}

/** bwrap's file. Throws when it went away since it was found. */
export function bwrapHere(): string {
  const machine = thisMachine()
  const path = programOnPath("bwrap", machine.env)
  if (path === undefined) throw new Error("bwrap is not on PATH any more")
  return path
}
