/** What the demo's story is made of. */
import type { Stage } from "./stage.ts"

export interface Chapter {
  /** What is shown in it, as a sentence without a full stop */
  title: string
  steps: readonly Step[]
}

export interface Step {
  /** Kebab-case name, stable across versions */
  name: string
  /** Who acts: the agent in its sandbox, or the person outside */
  who: "agent" | "you"
  /** What is tried, as it would be typed */
  tried(stage: Stage): string
  run(stage: Stage, tried: string): Promise<Outcome>
}

export interface Outcome {
  holds: boolean
  /** What came back, a line each, safe to show */
  seen: string[]
  /** What that means, as a sentence without a full stop */
  says: string
}
