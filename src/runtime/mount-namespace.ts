/**
 * Mounts that only this process and its children see: no runtime has a name for them. Linux, and root.
 */
import { FFIType } from "bun:ffi"
import { libc } from "./libc.ts"

// linux/sched.h, linux/mount.h
const CLONE_NEWNS = 0x20000
const MS_NOSUID = 0x2n
const MS_NODEV = 0x4n
const MS_BIND = 0x1000n
const MS_REC = 0x4000n
const MS_SLAVE = 0x80000n

const FUNCTIONS = {
  unshare: { args: [FFIType.i32], returns: FFIType.i32 },
  mount: {
    args: [FFIType.cstring, FFIType.cstring, FFIType.cstring, FFIType.u64, FFIType.cstring],
    returns: FFIType.i32,
  },
} as const

export interface MountNamespace {
  /** A small file system in memory at that folder, which others may pass through and not list. Throws when refused. */
  memory(at: string, bytes: number): void
  /** What is at `from` at the path `to` too, with what is mounted below it. Throws when refused. */
  bind(from: string, to: string): void
}

/** Leaves the mounts of the host; what the host mounts and unmounts from now on still arrives. Throws when refused. */
export function ownMounts(): MountNamespace {
  const symbols = libc(FUNCTIONS)
  if (symbols.unshare(CLONE_NEWNS) !== 0) throw new Error("the kernel refuses a mount namespace of our own")
  const mount = (source: string, at: string, type: string, flags: bigint, data: string) => {
    if (symbols.mount(text(source), text(at), text(type), flags, text(data)) !== 0) {
      throw new Error(`the kernel refuses to mount ${source} at ${at}`)
    }
  }
  mount("none", "/", "none", MS_REC | MS_SLAVE, "")
  return {
    memory: (at, bytes) => mount("tmpfs", at, "tmpfs", MS_NOSUID | MS_NODEV, `mode=0711,size=${bytes}`),
    bind: (from, to) => mount(from, to, "none", MS_BIND | MS_REC, ""),
  }
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}
