/** What a sandbox is made of, as options of bwrap: pure, and the place to read what the wall consists of. */
import { dirname } from "node:path"
import { AGENT_GID, AGENT_HOME, AGENT_UID, SOCKET_DIR, WORKSPACE } from "../../policy/paths.ts"
import type { ProgramArgument } from "../../policy/wire/keeper.ts"
import type { SidecarProgram } from "../../runtime/program.ts"
import type { Mount } from "./mount.ts"
import { SYSTEM_PATH } from "./system.ts"

/** Where a program of ours is inside, and its folder if it has one. */
export const PROGRAM_INSIDE = "/opt/bottle/bottle"
export const BUNDLE_INSIDE = "/opt/bottle/bundle"

/** Room for the one name in a mount that holds nothing else, in bytes */
const PARENT_BYTES = 64 * 1024

/** What every sandbox of ours gets, the agent's and the daemons'. */
export interface Confinement {
  /** Name of the machine as it is seen inside */
  hostname: string
  /** User and group inside, which is no user of the host's */
  uid: number
  gid: number
  /** Filter of system calls, as bwrap takes it, base64 */
  seccomp: string
  /** The program that runs inside, as it is on the host */
  program: SidecarProgram
  /** Variables of that program besides its own */
  env: Readonly<Record<string, string>>
  /** Size of each writable folder in memory, in bytes */
  tmpfsBytes: number
  /** Those of PER_USER_FILES that the kernel has, absolute */
  hidden: readonly string[]
}

/**
 * Files of the kernel's that no namespace has to itself: they list the keys of whoever has the sandbox's number on the
 * host, of Kerberos and encrypted disks for example, by their names.
 */
export const PER_USER_FILES = ["/proc/keys", "/proc/key-users"]

/** The agent's sandbox: no network, the work writable, the gateway's sockets read-only, everything else the system's. */
export function sandboxOptions(
  confinement: Confinement,
  folders: { home: string; workspace: string; sockets: string },
  mounts: { system: readonly Mount[]; tool: readonly Mount[] },
): ProgramArgument[] {
  return [
    ...namespaces(confinement, ["--unshare-net"]),
    ...mounts.system.flatMap(byPath),
    ...base(confinement),
    ...mounts.tool.flatMap(byReach),
    ...gatewaySockets(folders.sockets),
    ...["--bind", { path: folders.home }, AGENT_HOME],
    ...["--bind", { path: folders.workspace }, WORKSPACE],
    ...sealed(confinement, `${AGENT_HOME}/.local/bin:${SYSTEM_PATH.join(":")}`),
  ]
}

/**
 * Below a mount of their own, which is read-only too: a mount cannot be moved, but a folder that holds one can, and
 * then inner would look for the gateway at a place that the agent has made.
 */
function gatewaySockets(from: string): ProgramArgument[] {
  const parent = dirname(SOCKET_DIR)
  return [
    ...["--size", String(PARENT_BYTES), "--perms", "0755", "--tmpfs", parent, "--dir", SOCKET_DIR],
    ...["--ro-bind", { path: from }, SOCKET_DIR, "--remount-ro", parent],
  ]
}

/** A daemon's: its own folder of sockets, the network of the host when it needs that, and no home at all. */
export function daemonOptions(
  confinement: Confinement,
  daemon: { sockets: { from: string; to: string }; network: boolean },
  system: readonly Mount[],
): ProgramArgument[] {
  return [
    ...namespaces(confinement, daemon.network ? [] : ["--unshare-net"]),
    ...system.flatMap(byPath),
    ...base(confinement),
    ...["--dir", daemon.sockets.to, "--bind", { path: daemon.sockets.from }, daemon.sockets.to],
    ...sealed(confinement, SYSTEM_PATH.join(":")),
  ]
}

function namespaces({ uid, gid, hostname }: Confinement, network: string[]): ProgramArgument[] {
  return [
    "--die-with-parent",
    ...["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup", ...network],
    // No user namespace inside: each is a new set of capabilities over a large part of the kernel.
    "--disable-userns",
    ...["--uid", String(uid), "--gid", String(gid)],
    ...["--hostname", hostname],
    ...["--cap-drop", "ALL"],
  ]
}

/** Kernel file systems of its own, memory for what is temporary, and our programs. */
function base({ program, tmpfsBytes, hidden }: Confinement): ProgramArgument[] {
  const size = ["--size", String(tmpfsBytes)]
  return [
    ...["--proc", "/proc"],
    // A device on a mount that allows none: nobody opens it.
    ...hidden.flatMap((path) => ["--ro-bind", "/dev/null", path]),
    ...["--dev", "/dev", ...size, "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"],
    ...[...size, "--perms", "1777", "--tmpfs", "/tmp"],
    ...[...size, "--perms", "0755", "--tmpfs", "/run"],
    ...["--dir", "/var", "--symlink", "../tmp", "/var/tmp", "--symlink", "../run", "/var/run"],
    ...["--ro-bind", { path: program.file }, PROGRAM_INSIDE],
    ...(program.folder === undefined ? [] : ["--ro-bind", { path: program.folder }, BUNDLE_INSIDE]),
  ]
}

/** Last: what was made up to here can be changed no more, and nothing of the host's environment is there. */
function sealed({ program, env, seccomp }: Confinement, path: string): ProgramArgument[] {
  return [
    ...["--remount-ro", "/"],
    ...["--chdir", "/"],
    "--clearenv",
    ...["--setenv", "PATH", path],
    ...Object.entries({ ...program.env, ...env }).flatMap(([name, value]) => ["--setenv", name, value]),
    ...["--seccomp", { base64: seccomp }],
  ]
}

/** The system is everybody's to read, so its paths will do. */
function byPath(mount: Mount): ProgramArgument[] {
  return mount.kind === "ro-bind" ? ["--ro-bind", mount.from, mount.to] : made(mount)
}

/** What lies in somebody's home is reached by whoever may open it, which the sandbox's user may not. */
function byReach(mount: Mount): ProgramArgument[] {
  return mount.kind === "ro-bind" ? ["--ro-bind", { path: mount.from }, mount.to] : made(mount)
}

function made(mount: Exclude<Mount, { kind: "ro-bind" }>): ProgramArgument[] {
  switch (mount.kind) {
    case "symlink":
      return ["--symlink", mount.target, mount.to]
    case "file":
      return ["--perms", mount.mode.toString(8).padStart(4, "0"), "--file", { text: mount.content }, mount.to]
    case "dir":
      return ["--perms", (mount.mode ?? 0o755).toString(8).padStart(4, "0"), "--dir", mount.to]
    case "empty":
      return ["--tmpfs", mount.to, "--remount-ro", mount.to]
  }
}

/** The agent's user inside. */
export const AGENT = { uid: AGENT_UID, gid: AGENT_GID }
