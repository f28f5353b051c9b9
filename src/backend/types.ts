/** What a backend does: isolate, start, reach and remove bottles. Everything above works on this alone. */
import type { ControlStreams } from "../gateway/control-client.ts"
import type { BackendName, Limits } from "../manifest/types.ts"
import type { WorkspaceState } from "../policy/wire/lifeline.ts"
import type { ProvisionTree } from "../provider/types.ts"
import type { AgentImage } from "../runtime/assets.ts"

/** Whether a backend can be used here, found by asking. */
export interface BackendProbe {
  available: boolean
  /** Why not; empty when available */
  reason: string
  /** What to do about it; empty when available */
  next: string
  /** What was found, for the preflight: `Docker 26.1.5, Compose 2.26.1, runc` */
  found: string
  /** Runtime that isolates the agent: `runc`, `runsc` */
  runtime: string
  /** What this machine does not enforce, for the preflight */
  notes: string[]
}

/** One thing that a backend, or bottle itself, asks of the machine, as it was found. */
export interface Need {
  /** What is asked for, as people call it: `user namespaces` */
  name: string
  ok: boolean
  /** False: bottles work without it, and worse */
  required: boolean
  /** What is there instead of words about it: version, path, setting, reason */
  found: string
  /** What mends it, lines ready to copy; empty when it is ok, or when no command is known */
  mend: string
}

/** How the agent's standard streams are connected. */
export type Session =
  /** The user's own terminal */
  | { mode: "terminal" }
  /** A terminal that nobody sits at yet */
  | { mode: "detached" }
  /** Plain pipes, one task, no input */
  | { mode: "task" }

/** Everything a backend needs to bring up a sandbox; pure data, no secret. */
export interface SandboxPlan {
  identity: string
  agent: string
  bottle: string
  /** The provider's image, for backends that have images */
  image: AgentImage
  /** Absolute path of the user's own Dockerfile, empty for the provider's image */
  dockerfile: string
  runtime: string
  session: Session["mode"]
  limits: Limits
  /** The agent's program as its provider names it, for backends that take it from the host */
  program: string
  /** Daemons of the gateway */
  daemons: string[]
  /** Folders copied into the agent's home */
  trees: ProvisionTree[]
  /** Host folder copied into the workspace; absent means an empty one, or the one kept */
  workspaceFrom?: string
  /** True when volumes of an earlier session are there and must be used */
  resume: boolean
  /** Names that the gateway resolves by itself: `host` -> address */
  extraHosts: Record<string, string>
}

/** Where the agent's program is inside, on backends that take it from the host. */
export interface AgentProgram {
  /** Absolute path inside the sandbox */
  path: string
  /** Folders in front of PATH inside */
  pathFolders: string[]
}

/** A running sandbox whose inner waits for probes and launch. */
export interface Sandbox {
  /** Absent where the image has it */
  program?: AgentProgram
  /** References of the images it runs from, empty on backends without images */
  images: { agent: string; gateway: string }
  /** Resolves when nothing that the agent says is missed: it may be started */
  joined: Promise<unknown>
  /**
   * Resolves when the user's part in the session ended: with the exit code when the agent did, or as detached.
   */
  session: Promise<SessionEnd>
  /** Ends the user's part in the session; the agent runs on */
  leave(): void
}

export type SessionEnd = { kind: "exited"; code: number } | { kind: "detached" }

/** What is left of a bottle after its agent ended. */
export interface Remains {
  /** How the agent ended, when inner could say it */
  exit?: { code: number; workspace: WorkspaceState }
}

export interface ActiveBottle {
  backend: BackendName
  identity: string
  agent: string
  /** RFC 3339 time, empty when unknown */
  startedAt: string
  /** Running services: `agent`, `egress` ... */
  services: string[]
  /** `running`; `ended`: the agent is gone; `broken`: agent or gateway is missing */
  status: "running" | "ended" | "broken"
}

/** Something of this home that no state accounts for, or that ended. */
export interface Leftover {
  identity: string
  /** What it is, for people: `container bottle-dev-k3x9a-agent` */
  what: string
}

/** Undo steps and interruption of a start. */
export interface LaunchScope {
  /** Registers what takes a step back; run in reverse when the start fails */
  undo(name: string, step: () => Promise<void>): void
  signal: AbortSignal
  /** Tells the person what is being done */
  progress(line: string): void
  /** Measures a phase for --profile */
  phase<T>(name: string, work: () => Promise<T>): Promise<T>
}

export interface Backend {
  name: BackendName
  /**
   * Who has the agent's standard streams: `backend`, which joins them to the user's by its own means, or `inner`, which
   * serves them to sessions
   */
  streams: "backend" | "inner"
  /** Network that the gateway leaves by: `host`, this machine's, its loopback included, or one of its `own` */
  gatewayNetwork: "host" | "own"
  /** What is asked of this machine for a bottle with these limits; bounded in time, never throws */
  probe(limits?: Limits, signal?: AbortSignal): Promise<BackendProbe>
  /** Whether folders are copied into a resumed bottle too */
  copiesAgain: boolean
  /** Begins what every launch needs and nothing sees, while the person still decides; gone with us when nobody launches */
  warm?(): void
  /** Where its bottles' programs come from: `images`, or the `host` */
  programs: "images" | "host"
  /**
   * Looks for the agent's program on the host, and answers with the files and folders that come into the sandbox with
   * it, beside the system's. Throws a BottleError when it is not there. Absent where the image has it.
   */
  checkProgram?(program: string): string[]
  /** The same, each need by itself and with what mends it, for doctor; bounded in time, never throws */
  needs(signal?: AbortSignal): Promise<Need[]>
  /**
   * Brings up gateway and sandbox. Nothing is created before `begun` resolves, and all is taken back when it rejects.
   * `load` is called with the way to init as soon as the gateway can be loaded.
   */
  launch(
    plan: SandboxPlan,
    scope: LaunchScope,
    begun: Promise<unknown>,
    load: (streams: ControlStreams) => Promise<void>,
  ): Promise<Sandbox>
  /** Joins the agent's terminal; `leave` ends the user's part in it, and the agent runs on */
  attach(identity: string, leave: AbortSignal): Promise<SessionEnd>
  /** Passes a signal on to the agent of a running bottle */
  signal(identity: string, signal: "SIGINT" | "SIGTERM"): Promise<void>
  /** The way to init of a running bottle; throws when there is none */
  control(identity: string): ControlStreams
  /** Starts a gateway that ended while its agent lives */
  restartGateway(identity: string): Promise<void>
  /** Bottles of this home */
  list(signal?: AbortSignal): Promise<ActiveBottle[]>
  /** How the agent ended, and ledger and logs copied into the given folders */
  collect(identity: string, into: { ledger: string; log: string }): Promise<Remains>
  /** Ends and removes sandbox and gateway; with `keepWork` what the agent wrote stays for a resume */
  remove(identity: string, options: { keepWork: boolean }): Promise<void>
  /** Everything of this home that is there, running or not */
  leftovers(signal?: AbortSignal): Promise<Leftover[]>
  /** Removes what bottles share, when no bottle is left */
  removeShared(): Promise<void>
}
