/**
 * The Compose project of one bottle, as data: `agent` without any network, `sidecars` with the only way out, and the
 * folder of sockets that both mount. Pure, and without any secret: those travel over the control socket.
 */
import { DEFAULT_LIMITS, STEADY_THREADS } from "../../policy/limits.ts"
import {
  AGENT_GID,
  AGENT_HOME,
  AGENT_UID,
  CONTROL_SOCKET,
  LEDGER_DIR,
  SOCKET_DIR,
  WORKSPACE,
} from "../../policy/paths.ts"
import type { SandboxPlan } from "../types.ts"
import {
  LABEL_AGENT,
  LABEL_DAEMONS,
  LABEL_HOME,
  LABEL_IDENTITY,
  LABEL_ROLE,
  LABEL_STARTED,
  namesOf,
  networkOf,
} from "./names.ts"

/**
 * Docker keeps this much of a container's output: a day of a talkative agent, not a full disk. The `local` driver would
 * take less room and costs every start 30 ms.
 */
const LOGGING = { driver: "json-file", options: { "max-size": "10m", "max-file": "2" } }
/** Memory of a gateway: the daemons need about 150 MB, the rest is for streams. */
const GATEWAY_MEMORY = "512m"
const GATEWAY_PIDS = 256

/** Proxy variables as Docker's client configuration hands them to every container it creates. */
export const PROXY_VARIABLES: readonly string[] = ["HTTP", "HTTPS", "FTP", "ALL", "NO"]
  .map((name) => `${name}_PROXY`)
  .flatMap((name) => [name, name.toLowerCase()])

/** Takes them out again: they can hold the user's password, and nothing in a bottle is to leave by them. */
const WITHOUT_PROXY = Object.fromEntries(PROXY_VARIABLES.map((name) => [name, null]))

export interface ComposeContext {
  /** Digest of user and home */
  home: string
  /** RFC 3339 time */
  startedAt: string
  /** References of the images */
  images: { agent: string; gateway: string }
}

/** The project as an object; JSON of it is what Compose reads. */
export function composeProject(plan: SandboxPlan, context: ComposeContext) {
  const names = namesOf(plan.identity)
  const labels = (role: string) => ({
    [LABEL_IDENTITY]: plan.identity,
    [LABEL_ROLE]: role,
    [LABEL_HOME]: context.home,
    [LABEL_AGENT]: plan.agent,
    [LABEL_STARTED]: context.startedAt,
    [LABEL_DAEMONS]: plan.daemons.join(","),
  })
  // The same for every session of a bottle: newer Compose offers to make a volume anew whose labels have changed.
  const volume = (role: string, name: string) => ({
    name,
    labels: { [LABEL_IDENTITY]: plan.identity, [LABEL_ROLE]: role, [LABEL_HOME]: context.home },
  })
  // What is resumed must be there: an empty workspace in place of a lost one would be taken for the kept one.
  const kept = (role: string, name: string) => (plan.resume ? { name, external: true } : volume(role, name))
  const hardening = {
    init: true,
    read_only: true,
    cap_drop: ["ALL"],
    security_opt: ["no-new-privileges:true"],
    restart: "no",
    logging: LOGGING,
  }
  const interactive = plan.session !== "task"
  return {
    name: names.project,
    services: {
      agent: {
        ...hardening,
        image: context.images.agent,
        pull_policy: "never",
        container_name: names.agent,
        hostname: plan.identity,
        labels: labels("agent"),
        environment: { ...WITHOUT_PROXY, ...STEADY_THREADS },
        network_mode: "none",
        user: `${AGENT_UID}:${AGENT_GID}`,
        working_dir: "/",
        tty: interactive,
        stdin_open: interactive,
        ...(plan.runtime === "" ? {} : { runtime: plan.runtime }),
        ...(plan.limits.memory ? { mem_limit: plan.limits.memory, memswap_limit: plan.limits.memory } : {}),
        ...(plan.limits.cpus ? { cpus: plan.limits.cpus } : {}),
        pids_limit: plan.limits.pids ?? DEFAULT_LIMITS.pids,
        // Programs are built and run below /tmp by many tools, so it is not noexec.
        tmpfs: ["/tmp:mode=1777,exec,nosuid,nodev", "/run:mode=0755,nosuid,nodev"],
        volumes: [
          `home:${AGENT_HOME}`,
          `workspace:${WORKSPACE}`,
          { type: "volume", source: "sock", target: SOCKET_DIR, read_only: true, volume: { nocopy: true } },
        ],
      },
      sidecars: {
        ...hardening,
        image: context.images.gateway,
        pull_policy: "never",
        container_name: names.sidecars,
        labels: labels("sidecars"),
        networks: ["outside"],
        // The first way to init, open before it starts: see engine.ts.
        stdin_open: true,
        // init gives each daemon its folder and its user, and ends it; the daemons themselves have no capability.
        cap_add: ["CHOWN", "SETUID", "SETGID", "KILL"],
        mem_limit: GATEWAY_MEMORY,
        memswap_limit: GATEWAY_MEMORY,
        pids_limit: GATEWAY_PIDS,
        environment: {
          ...WITHOUT_PROXY,
          BOTTLE_IDENTITY: plan.identity,
          BOTTLE_SIDECAR_DAEMONS: plan.daemons.join(","),
        },
        extra_hosts: plan.extraHosts,
        tmpfs: [`${folderOf(CONTROL_SOCKET)}:mode=0700,nosuid,nodev,noexec`],
        volumes: [
          { type: "volume", source: "sock", target: SOCKET_DIR, volume: { nocopy: true } },
          `ledger:${folderOf(LEDGER_DIR)}`,
        ],
      },
    },
    volumes: {
      home: kept("home", names.volumes.home),
      workspace: kept("workspace", names.volumes.workspace),
      ledger: kept("ledger", names.volumes.ledger),
      sock: {
        ...volume("sock", names.volumes.sock),
        driver_opts: { type: "tmpfs", device: "tmpfs", o: "size=16m,mode=0755,nosuid,nodev,noexec" },
      },
    },
    networks: { outside: { name: networkOf(context.home), external: true } },
  }
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"))
}
