/** What a step of the demo works with, whatever stands behind it: the agent's side, the service's, and the person's. */
import type { LedgerEntry } from "../policy/ledger.ts"
import type { Call } from "./service.ts"
import type { Tools } from "./tools.ts"

/** What a command did. */
export interface Seen {
  /** Exit status; undefined when it did not end in time */
  code: number | undefined
  stdout: string
  stderr: string
}

export interface Stage {
  /** Name of the bottle */
  identity: string
  /** Host that the bottle may call from the start */
  allowed: string
  /** Host that it may not call until the policy says so */
  closed: string
  /** The credential as the service knows it */
  token: string
  /** What the agent has in its place */
  placeholder: string
  /** Address and name outside that nobody may reach; port 53 of it stands for a DNS server */
  outside: { address: string; tcpPort: number; udpPort: number; name: string }
  /** Folder of the person's that exists on the host, absolute */
  hostFolder: string
  tools: Tools
  /** Runs a shell command where the agent is */
  sh(command: string): Promise<Seen>
  /** Requests that arrived at the service so far */
  calls(): readonly Call[]
  /** The port of the host's own that is to be out of reach: how it is reached from the host, and by whom it was */
  bystander: { port: number; answersHost(): Promise<boolean>; visits(): number }
  /** Adds a route for a host to the live policy, as `bottle routes edit` does; answers with the live generation */
  open(host: string): Promise<number>
  /** The ledger up to now, and what its check says */
  ledger(): Promise<{ entries: LedgerEntry[]; whole: boolean; says: string }>
}
