/** The rules that a bottle has unless it says otherwise. */
import type { Rule } from "../rule.ts"
import { PROOF_RULE, proofSample, type Ruleset } from "../ruleset.ts"
import { CHAT } from "./chat.ts"
import { CLOUD } from "./cloud.ts"
import { FORGE } from "./forge.ts"
import { KEY } from "./key.ts"
import { MODEL } from "./model.ts"
import { PAYMENT } from "./payment.ts"
import { PIPELINE } from "./pipeline.ts"
import { SERVICE } from "./service.ts"

export const DEFAULT_RULES: readonly Rule[] = [
  ...KEY,
  ...FORGE,
  ...MODEL,
  ...CLOUD,
  ...PIPELINE,
  ...CHAT,
  ...PAYMENT,
  ...SERVICE,
]

/** `seedPhrases`: off unless asked for. */
export function defaultRuleset(options: { seedPhrases?: boolean } = {}): Ruleset {
  return {
    rules: DEFAULT_RULES,
    seedPhrases: options.seedPhrases ?? false,
    proof: { rule: PROOF_RULE, sample: proofSample },
  }
}
