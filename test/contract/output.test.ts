/** A start on plain pipes: output, errors and exit status are the agent's, whatever isolates it. */
import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import { run } from "../../src/runtime/spawn.ts"
import { NOTHING } from "./objects.ts"
import { onEveryBackend } from "./world.ts"

const MIB = 2 ** 20

onEveryBackend((world) => {
  test("an agent that ends with 0 leaves nothing", async () => {
    const result = await world().start("exit 0")
    expect(result).toMatchObject({ code: 0, stdout: "" })
    expect(result.stderr).toContain("nothing to keep")
    expect(await world().remains()).toEqual(NOTHING)
  })

  for (const status of [1, 3, 126, 127, 255]) {
    test(`the agent's exit status ${status} is ours, and its bottle is kept`, async () => {
      const result = await world().start(`exit ${status}`)
      expect(result.code).toBe(status)
      const identity = /bottle resume (sh-[0-9a-z]{5})\n/.exec(result.stderr)?.[1] ?? "none"
      expect(result.stderr).toContain(`its agent ended with ${status}`)
      expect(await world().remains()).toEqual({ running: [], work: [identity], state: [identity] })
    })
  }

  for (const [signal, status] of [
    ["TERM", 143],
    ["KILL", 137],
    ["SEGV", 139],
  ] as const) {
    test(`an agent that dies of SIG${signal} is told by ${status}`, async () => {
      expect((await world().start(`kill -${signal} $$`)).code).toBe(status)
    })
  }

  const unusable: [string, string][] = [
    ["a program that is not there", "no-such-program"],
    ["a file that is no program", "/etc/hostname"],
  ]
  for (const [what, program] of unusable) {
    test(`${what} ends the start with its name and what to do, and leaves nothing`, async () => {
      const path = `${world().home}/bottles/sh.md`
      await Bun.write(path, (await Bun.file(path).text()).replace("[bash]", `[${program}]`))
      const result = await world().start("true")
      expect(result).toMatchObject({ code: 1, stdout: "" })
      expect(result.stderr).toContain(program)
      expect(result.stderr).toMatch(/^ {2}next \S/m)
      expect(await world().remains()).toEqual(NOTHING)
    })
  }

  test("stdout is what the agent wrote, byte for byte, and stderr has the rest", async () => {
    const script =
      "printf 'a\\r\\nb\\0\\033[31mc\\377\\200'; printf 'aside' >&2; [ -t 0 ] || [ -t 1 ] || printf x"
    await using child = world().spawn(script)
    const [out, errors] = await Promise.all([bytes(child.stdout), bytes(child.stderr)])
    expect([...out]).toEqual([...Buffer.from("a\r\nb\0\u001b[31mc\xff\x80x", "latin1")])
    expect(errors.toString()).toContain("aside")
    expect(await child.exited).toBe(0)
  })

  test("stdin is not read: the agent sees its end at once", async () => {
    expect((await world().start("cat; echo read all")).stdout).toBe("read all\n")
  })

  test("arguments behind -- reach the agent as they are", async () => {
    const words = ["--flag", "a b", "--yes", "", "'q'", "$HOME", "`id`", "zwei\nZeilen ä"]
    const { bottle } = world()
    const result = await bottle("start", "sh", "--yes", "--", "-c", "printf '<%s>' \"$@\"", "sh", ...words)
    expect(result.stdout).toBe(words.map((word) => `<${word}>`).join(""))
  })

  test("50 MB reach a slow reader whole, and the agent waits for it", async () => {
    const size = 50 * MIB
    // A pattern that no repetition, loss or swap leaves as it was.
    const script = `seq 1 9999999 | head -c ${size}`
    const whole = await run(["bash", "-c", `${script} | sha256sum`])
    await using child = world().spawn(script)
    child.stderr.resume()
    const hash = createHash("sha256")
    let seen = 0
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      hash.update(chunk)
      seen += chunk.length
      // What makes this reader a slow one.
      if (seen < 4 * MIB) await delay(20)
    }
    expect(seen).toBe(size)
    expect(await child.exited).toBe(0)
    expect(whole.stdout).toBe(`${hash.digest("hex")}  -\n`)
  })

  test("a reader that goes away leaves the agent to its work, and the caller is told", async () => {
    await using child = world().spawn("seq 1 2000000; echo done >/workspace/file; exec sleep infinity")
    const errors = bytes(child.stderr)
    child.stdout.destroy()
    await child.exited
    const told = (await errors).toString()
    expect(told).toContain("which runs on")
    const identity = /bottle attach (sh-[0-9a-z]{5})\n/.exec(told)?.[1] ?? "none"
    await world().until(identity, "[ -s /workspace/file ]")
  })
})

async function bytes(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part as Buffer)
  return Buffer.concat(parts)
}
