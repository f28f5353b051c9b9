/**
 * Pipes of the kernel's, for programs that are started here. What the runtime itself gives a child is one end of a
 * socket pair, which it can read and write but not open: `cat /dev/stdin` and `echo >/dev/stderr` end with ENXIO
 * (proc(5), /proc/pid/fd).
 */
import { FFIType, ptr } from "bun:ffi"
import { closeSync, writeSync } from "node:fs"
import { Readable, Writable } from "node:stream"
import type { ReadableStream } from "node:stream/web"
import { libc } from "./libc.ts"

// asm-generic/fcntl.h, linux/fcntl.h
const O_NONBLOCK = 0o4000
const O_CLOEXEC = 0o2000000
const F_SETFL = 4
const F_SETPIPE_SZ = 1031
/** Room in a pipe, in bytes: what is read meanwhile lasts longer than the first pause; refused, the usual 64 KiB remain. */
const PIPE_BYTES = 256 * 1024
/** Pauses between two attempts to write into a full pipe, in milliseconds: the runtime tells nobody when there is room. */
const RETRY_MS = { first: 1, last: 50 }

const FUNCTIONS = {
  pipe2: { args: [FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
  fcntl: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
} as const

let functions: ReturnType<typeof libc<typeof FUNCTIONS>> | undefined

function called() {
  functions ??= libc(FUNCTIONS)
  return functions
}

/** One end of a pipe as a stream of ours, the other as a descriptor for a child: whoever starts it closes that one. */
export interface ChildPipe<Stream> {
  /** Descriptor of the child's end */
  fd: number
  stream: Stream
}

/** A pipe whose output a child reads, as its stdin. Throws when there are no descriptors left. */
export function pipeToChild(): ChildPipe<Writable> {
  const { read, write } = makePipe()
  // Only our own end: what the child reads from waits as any pipe does.
  called().fcntl(write, F_SETFL, O_NONBLOCK)
  called().fcntl(write, F_SETPIPE_SZ, PIPE_BYTES)
  return { fd: read, stream: new PipeInput(write) }
}

/** A pipe that a child writes into, as its stdout. Throws when there are no descriptors left. */
export function pipeFromChild(): ChildPipe<Readable> {
  const { read, write } = makePipe()
  // Not node:fs, whose streams hold a thread of a small pool for as long as nothing comes.
  const stream = Readable.fromWeb(Bun.file(read).stream() as ReadableStream<Uint8Array>)
  // The runtime reads from a copy of the descriptor, and closes that one.
  stream.once("close", () => closeSync(read))
  return { fd: write, stream }
}

function makePipe(): { read: number; write: number } {
  const ends = new Int32Array(2)
  if (called().pipe2(ptr(ends), O_CLOEXEC) !== 0) throw new Error("the kernel gives no pipe")
  const [read = -1, write = -1] = ends
  return { read, write }
}

/** Writes without holding a thread. The runtime's own writer misses that a pipe has room again (Bun 1.4.5). */
class PipeInput extends Writable {
  readonly #fd: number
  #retry: NodeJS.Timeout | undefined

  constructor(fd: number) {
    super()
    this.#fd = fd
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#push(chunk, RETRY_MS.first, done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#retry)
    closeSync(this.#fd)
    done(error)
  }

  #push(chunk: Buffer, pause: number, done: (error?: Error | null) => void): void {
    let left = chunk
    try {
      while (left.length > 0) left = left.subarray(writeSync(this.#fd, left))
      done()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") done(error as Error)
      else {
        const next = left.length < chunk.length ? RETRY_MS.first : Math.min(2 * pause, RETRY_MS.last)
        this.#retry = setTimeout(() => this.#push(left, next, done), next)
      }
    }
  }
}
