/** The C library's own functions, for the few calls that no runtime has a name for. Linux. */
import { dlopen, type FFIFunction } from "bun:ffi"

/** glibc's and musl's own names; the second is a link that only musl's systems have. */
const LIBRARIES = [
  "libc.so.6",
  "libc.so",
  `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`,
]

/** Throws when the library is not found, or has not all of these functions. */
export function libc<const F extends Record<string, FFIFunction>>(functions: F) {
  let fault: unknown
  for (const name of LIBRARIES) {
    try {
      return dlopen(name, functions).symbols
    } catch (error) {
      fault = error
    }
  }
  throw fault
}
