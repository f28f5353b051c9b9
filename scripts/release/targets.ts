/** The machines that a release is for. */

export interface Target {
  os: "linux" | "darwin"
  arch: "x64" | "arm64"
  /** C library of a Linux, of which musl is Alpine's */
  libc?: "glibc" | "musl"
}

/**
 * No `-baseline` twins: since Bun 1.4 there is one x64 runtime, which needs SSE4.2 (Nehalem, 2008) and finds out about
 * AVX2 when it runs; the baseline packages are aliases of it.
 */
export const TARGETS: readonly Target[] = [
  { os: "linux", arch: "x64", libc: "glibc" },
  { os: "linux", arch: "arm64", libc: "glibc" },
  { os: "linux", arch: "x64", libc: "musl" },
  { os: "linux", arch: "arm64", libc: "musl" },
  { os: "darwin", arch: "arm64" },
  { os: "darwin", arch: "x64" },
]

/** File of a release: `bottle-linux-x64`, `bottle-linux-arm64-musl`, `bottle-darwin-arm64`. */
export function binaryName({ os, arch, libc }: Target): string {
  return `bottle-${os}-${arch}${libc === "musl" ? "-musl" : ""}`
}

/** What `bun build --target` calls it. */
export function bunTarget({ os, arch, libc }: Target): Bun.Build.CompileTarget {
  return `bun-${os}-${arch}${libc === "musl" ? "-musl" : ""}` as Bun.Build.CompileTarget
}

/** Package of the npm registry that holds its runtime. */
export function runtimePackage({ os, arch, libc }: Target): string {
  return `@oven/bun-${os}-${arch === "arm64" ? "aarch64" : arch}${libc === "musl" ? "-musl" : ""}`
}
