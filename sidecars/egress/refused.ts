/** A refusal on its way from where it is decided to where it is answered. */
import type { Denial } from "../../src/policy/denial.ts"

export class Refused extends Error {
  override readonly name = "Refused"
  /** HTTP status of the answer: 4xx what the client must change, 5xx what failed behind the gateway */
  readonly status: 400 | 403 | 413 | 502 | 503 | 504
  readonly denial: Denial

  constructor(status: Refused["status"], denial: Denial) {
    super(denial.rule)
    this.status = status
    this.denial = denial
  }
}
