/** Judges what the kernel says of the sandbox: its interfaces, and what a process in it may become. */
import type { ProbeResult } from "../../src/policy/wire/lifeline.ts"

/** Flag of an interface that carries packets (`IFF_UP`, linux/if.h) */
export const UP = 0x1

export interface Link {
  name: string
  /** Flags as /sys/class/net/<name>/flags has them */
  flags: number
}

/**
 * Kernels with tunnel modules (Docker Desktop's, WSL's, hosts with ipip or sit loaded) put `tunl0`, `sit0` and kin into
 * every new network. They are down, and only CAP_NET_ADMIN could bring them up, which `judgeStatus` rules out.
 */
export function judgeInterfaces(links: readonly Link[], routes: number): ProbeResult {
  const up = links.filter(({ name, flags }) => name !== "lo" && (flags & UP) !== 0).map(({ name }) => name)
  const ok = up.length === 0 && routes === 0
  const detail = ok ? "loopback only" : `interfaces: ${up.join(", ") || "none"}; routes: ${routes}`
  return { name: "network interfaces", ok, detail: detail.slice(0, 512) }
}

/** The capability sets of a process, by their names in /proc/<pid>/status */
const SETS = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]

/** `status` is the text of /proc/<pid>/status. A line that is missing counts as a hole: nothing was shown. */
export function judgeStatus(status: string): ProbeResult {
  const value = (field: string) => new RegExp(`^${field}:\\s*(\\S+)`, "m").exec(status)?.[1] ?? "missing"
  const holes = [
    ...SETS.filter((set) => !/^0+$/.test(value(set))).map((set) => `${set} is ${value(set)}`),
    ...(value("NoNewPrivs") === "1" ? [] : ["programs may raise their privileges (NoNewPrivs)"]),
    // 2 is a filter; 0 is none (proc(5)).
    ...(value("Seccomp") === "2" ? [] : ["system calls are not filtered (Seccomp)"]),
    ...(/^[1-9]\d*$/.test(value("Uid")) ? [] : ["it runs as root"]),
  ]
  const detail = holes.length === 0 ? "no capability, and no way to one" : holes.join("; ")
  return { name: "confinement", ok: holes.length === 0, detail: detail.slice(0, 512) }
}
