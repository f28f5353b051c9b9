/**
 * The demo's story as a list: what is tried, and how its result is judged. Each judgement rests on what happened, never
 * on what ought to: the same commands without a sandbox around them must be judged as breaches.
 */
import { CHANGE } from "./chapters/change.ts"
import { CREDENTIAL } from "./chapters/credential.ts"
import { HOSTS } from "./chapters/hosts.ts"
import { MACHINE } from "./chapters/machine.ts"
import { RECORD } from "./chapters/record.ts"
import { WAYS_OUT } from "./chapters/ways-out.ts"
import type { Chapter } from "./step.ts"

export const CHAPTERS: readonly Chapter[] = [CREDENTIAL, HOSTS, WAYS_OUT, MACHINE, CHANGE, RECORD]
