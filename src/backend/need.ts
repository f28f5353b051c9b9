/** The three ways in which a need is found. */
import type { Need } from "./types.ts"

export function met(name: string, found: string): Need {
  return { name, ok: true, required: true, found, mend: "" }
}

/** What a backend cannot work without, and does not find. */
export function unmet(name: string, found: string, mend = ""): Need {
  return { name, ok: false, required: true, found, mend }
}

/** What makes it worse, and keeps nothing from working. */
export function worse(name: string, found: string, mend = ""): Need {
  return { name, ok: false, required: false, found, mend }
}
