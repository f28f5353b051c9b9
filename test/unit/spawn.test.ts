import { describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { BottleError } from "../../src/runtime/error.ts"
import { CAPTURE_LIMIT, lastLines, run, spawnInherit, spawnStreaming } from "../../src/runtime/spawn.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

async function failure(promise: Promise<unknown>): Promise<BottleError> {
  try {
    await promise
  } catch (error) {
    expect(error).toBeInstanceOf(BottleError)
    return error as BottleError
  }
  throw new Error("it did not fail")
}

describe("run", () => {
  test("hands back status, stdout and stderr apart", async () => {
    const result = await run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    expect(result).toEqual({ code: 3, stdout: "out\n", stderr: "err\n" })
  })

  test("feeds text, bytes and streams to stdin", async () => {
    expect((await run(["cat"], { input: "héllo" })).stdout).toBe("héllo")
    expect((await run(["cat"], { input: new TextEncoder().encode("bytes") })).stdout).toBe("bytes")
    const big = Readable.from(Array.from({ length: 64 }, () => Buffer.alloc(65536, "x")))
    expect((await run(["wc", "-c"], { input: big })).stdout.trim()).toBe(String(64 * 65536))
  })

  test("gives an empty stdin to a child that reads", async () => {
    expect(await run(["cat"])).toEqual({ code: 0, stdout: "", stderr: "" })
  })

  test("survives a child that does not read its input", async () => {
    const big = Readable.from(Array.from({ length: 64 }, () => Buffer.alloc(65536, "x")))
    expect((await run(["true"], { input: big })).code).toBe(0)
    expect((await run(["true"], { input: "x".repeat(1 << 20) })).code).toBe(0)
  })

  test("hands on the fault of an input that breaks", async () => {
    const broken = new Readable({
      read() {
        this.destroy(new Error("the source broke"))
      },
    })
    expect(run(["cat"], { input: broken })).rejects.toThrow("the source broke")
  })

  test("gives the child the environment and folder asked for and no other variable", async () => {
    const folder = mkdtempSync(join(tmpdir(), "spawn-"))
    try {
      const result = await run(["/bin/sh", "-c", "pwd; env"], { cwd: folder, env: { ONLY: "this" } })
      expect(result.stdout).toContain(folder)
      expect(result.stdout).toContain("ONLY=this")
      expect(result.stdout).not.toContain("HOME=")
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test("names a tool that is not installed", async () => {
    const error = await failure(run(["no-such-tool-here", "x"]))
    expect(error.what).toContain("no-such-tool-here")
    expect(error.why).toContain("not installed")
    expect(error.next).toContain("Install")
  })

  test("tells a missing folder from a missing tool", async () => {
    const error = await failure(run(["true"], { cwd: "/no/such/folder" }))
    expect(error.what).toContain("/no/such/folder")
    expect(error.why).toContain("no such folder")
  })

  test("reports the signal that ended the child as 128 plus its number", async () => {
    expect((await run(["sh", "-c", "kill -KILL $$"])).code).toBe(137)
  })

  test("ends a child that takes too long, even when a grandchild holds the pipes", async () => {
    const error = await failure(run(["sh", "-c", "echo before >&2; sleep 60 & wait"], { timeoutMs: 200 }))
    expect(error.what).toContain("did not end within 1 s")
    expect(error.why).toContain("before")
  })

  test("ends the child on abort with exit status 130", async () => {
    const abort = new AbortController()
    const ended = failure(run(["sleep", "60"], { signal: abort.signal }))
    abort.abort()
    expect((await ended).exitCode).toBe(130)
    expect((await failure(run(["true"], { signal: abort.signal }))).exitCode).toBe(130)
  })

  test("stops a child that writes more than the capture bound", async () => {
    const error = await failure(run(["head", "-c", String(CAPTURE_LIMIT + 1), "/dev/zero"]))
    expect(error.what).toContain("more than 16 MiB")
  })

  test("ends in time although something that the child left behind holds its pipes", async () => {
    using folder = temporaryFolder()
    const fifo = join(folder.path, "fifo")
    await run(["mkfifo", fifo])
    // The child ends at once; its own child waits for someone to write.
    const left = run(["sh", "-c", `cat ${fifo} & exit 0`], { timeoutMs: 200 })
    expect((await failure(left)).what).toContain("did not end within")
    writeFileSync(fifo, "")
  })

  test("says that a tool did not answer when the caller's time is over", async () => {
    const error = await failure(run(["sleep", "60"], { signal: AbortSignal.timeout(50) }))
    expect(error.what).toBe("`sleep` did not answer in time")
  })

  test("keeps output up to the capture bound whole", async () => {
    const result = await run(["head", "-c", String(CAPTURE_LIMIT), "/dev/zero"])
    expect(result.stdout.length).toBe(CAPTURE_LIMIT)
  })
})

describe("spawnInherit", () => {
  test("hands back the exit status", async () => {
    expect(await spawnInherit(["sh", "-c", "exit 7"])).toBe(7)
    expect((await failure(spawnInherit(["no-such-tool-here"]))).what).toContain("no-such-tool-here")
  })
})

describe("spawnStreaming", () => {
  test("talks both ways and ends by scope", async () => {
    let pid: number
    {
      await using child = spawnStreaming(["cat"])
      pid = child.pid
      child.stdin.write("ping\n")
      const [chunk] = await child.stdout.take(1).toArray()
      expect(String(chunk)).toBe("ping\n")
    }
    expect(() => process.kill(pid, 0)).toThrow()
  })

  test("rejects its end when the tool is missing", async () => {
    const child = (() => {
      try {
        return spawnStreaming(["no-such-tool-here"])
      } catch (error) {
        return { exited: Promise.reject(error) }
      }
    })()
    expect((await failure(child.exited)).what).toContain("no-such-tool-here")
  })
})

test("lastLines keeps the end of a text", () => {
  const text = Array.from({ length: 30 }, (_, i) => `line ${i}`).join("\n")
  expect(lastLines(`${text}\n`, 2)).toBe("line 28\nline 29")
  expect(lastLines("one", 20)).toBe("one")
})
