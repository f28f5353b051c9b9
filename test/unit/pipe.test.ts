import { expect, test } from "bun:test"
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { closeSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import type { Readable, Writable } from "node:stream"
import { pipeFromChild, pipeToChild } from "../../src/runtime/pipe.ts"

const MIB = 2 ** 20

interface Piped {
  child: ChildProcess
  input: Writable
  output: Readable
}

function piped(...argv: [string, ...string[]]): Piped {
  const [input, output] = [pipeToChild(), pipeFromChild()]
  const [file, ...args] = argv
  const child = spawn(file, args, { stdio: [input.fd, output.fd, "inherit"] })
  for (const { fd } of [input, output]) closeSync(fd)
  return { child, input: input.stream, output: output.stream }
}

/** Pipes that this process holds. */
function pipes(): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith("pipe:") ? [target] : []
    } catch {
      // The descriptor of the folder itself.
      return []
    }
  })
}

/** `once` of node:events would reject for the EPIPE that comes first. */
function closed(stream: Readable | Writable): Promise<void> {
  return new Promise((done) => stream.once("close", done))
}

async function text(stream: Readable): Promise<string> {
  let all = ""
  for await (const chunk of stream) all += chunk
  return all
}

/** Bytes that a process has written so far. */
function writtenBy({ pid }: ChildProcess): number {
  return Number(/^wchar: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1])
}

test("a program can open its standard streams by their names", async () => {
  const { input, output } = piped(
    "sh",
    "-c",
    "cat /dev/stdin >/dev/stdout; cat </dev/fd/0; readlink /dev/fd/1",
  )
  input.end("through\n")
  expect(await text(output)).toMatch(/^through\npipe:\[\d+\]\n$/)
})

test("100 MB pass through a program both ways, byte for byte, and what is held meanwhile is bounded", async () => {
  const { input, output } = piped("cat")
  const [sent, got] = [createHash("sha256"), createHash("sha256")]
  const before = process.memoryUsage().rss
  let most = 0
  const read = (async () => {
    for await (const chunk of output) {
      got.update(chunk)
      most = Math.max(most, process.memoryUsage().rss)
    }
  })()
  for (let i = 0; i < 400; i += 1) {
    const chunk = Buffer.alloc(MIB / 4, `${i} `)
    sent.update(chunk)
    if (!input.write(chunk)) await once(input, "drain")
  }
  input.end()
  await read
  expect(got.digest("hex")).toBe(sent.digest("hex"))
  expect(most - before).toBeLessThan(80 * MIB)
})

test("a program whose output nobody takes waits, while as much passes through another one", async () => {
  const full = piped("yes")
  await once(full.output, "readable")
  const other = piped("head", "-c", String(64 * MIB), "/dev/zero")
  let seen = 0
  for await (const chunk of other.output) seen += chunk.length
  expect(seen).toBe(64 * MIB)
  expect(writtenBy(full.child)).toBeLessThan(4 * MIB)
  full.output.destroy()
  const [, signal] = await once(full.child, "exit")
  expect(signal).toBe("SIGPIPE")
})

test("forty programs that neither read nor write hold up nothing", async () => {
  const idle = Array.from({ length: 40 }, () => piped("sleep", "infinity"))
  for (const { input } of idle) {
    input.on("error", () => {})
    input.write(Buffer.alloc(2 * MIB))
  }
  const { input, output } = piped("cat")
  input.end("still here")
  expect(await text(output)).toBe("still here")
  for (const { child } of idle) child.kill()
  for (const { output: unread } of idle) unread.destroy()
  await Promise.all(idle.flatMap((one) => [closed(one.input), closed(one.output)]))
})

test("input for a program that has ended is told as EPIPE, and no descriptor stays open", async () => {
  const before = new Set(pipes())
  const { input, output, child } = piped("true")
  output.resume()
  await once(child, "exit")
  const failed = once(input, "error")
  input.write(Buffer.alloc(2 * MIB))
  expect((await failed)[0]).toMatchObject({ code: "EPIPE" })
  if (!output.closed) await once(output, "close")
  // The runtime closes its own copy a moment later.
  while (pipes().some((pipe) => !before.has(pipe))) await new Promise(setImmediate)
})
