/** WebSocket frames: the scrubber takes the secret out and leaves every frame where it was. */
import { expect, test } from "bun:test"
import fc from "fast-check"
import { FrameFault, FrameScrubber } from "../../sidecars/egress/frames.ts"
import { createScrubber } from "../../sidecars/egress/scrub.ts"
import { type Frame, frame, takeFrames } from "../fixtures/websocket-server.ts"

const SECRET = ["sk", "0123456789abcdef"].join("-")

function scrubber(): FrameScrubber {
  return new FrameScrubber(createScrubber([SECRET]), createScrubber([SECRET]))
}

/** One message in fragments, control frames between them. */
const message = fc.array(
  fc.record({
    text: fc.oneof(
      fc.constant(SECRET.slice(0, 9)),
      fc.constant(SECRET.slice(9)),
      fc.constant(SECRET),
      fc.string({ maxLength: 200, unit: "grapheme-ascii" }),
    ),
    ping: fc.option(fc.constantFrom("", "ping", SECRET), { nil: undefined }),
  }),
  { minLength: 1, maxLength: 6 },
)

function encode(messages: { text: string; ping: string | undefined }[][]): Frame[] {
  const frames: Frame[] = []
  for (const parts of messages) {
    for (const [i, part] of parts.entries()) {
      frames.push({ fin: i === parts.length - 1, opcode: i === 0 ? 1 : 0, text: part.text })
      if (part.ping !== undefined) frames.push({ fin: true, opcode: 9, text: part.ping })
    }
  }
  return frames
}

/** Text of each message, fragments joined. */
function messagesOf(frames: Frame[]): string[] {
  const texts: string[] = []
  let text = ""
  for (const one of frames.filter((candidate) => candidate.opcode < 8)) {
    text += one.text
    if (one.fin) {
      texts.push(text)
      text = ""
    }
  }
  return texts
}

test("for any fragments and any cutting, frames keep kind and length, and no message holds the secret", () => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 4 }),
      fc.array(fc.nat(3000), { maxLength: 20 }),
      (messages, at) => {
        const frames = encode(messages)
        const bytes = Buffer.concat(frames.map((one) => frame(one.text, one.opcode, one.fin)))
        const scrub = scrubber()
        const out: Buffer[] = []
        let from = 0
        for (const to of [...at.map((n) => n % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
          out.push(scrub.push(bytes.subarray(from, to)))
          from = to
        }
        const { frames: got, rest } = takeFrames(Buffer.concat(out))
        expect(rest.length).toBe(0)
        const shape = (one: Frame) => [one.fin, one.opcode, one.text.length]
        expect(got.map(shape)).toEqual(frames.map(shape))
        for (const text of messagesOf(got)) expect(text).not.toContain(SECRET)
        for (const one of got) expect(one.text).not.toContain(SECRET)
        const before = messagesOf(frames)
        const after = messagesOf(got)
        for (const [i, text] of before.entries()) if (!text.includes(SECRET)) expect(after[i]!).toBe(text)
      },
    ),
  )
})

test("frames that cannot be followed are faults", () => {
  const compressed = frame("x")
  compressed[0]! |= 0x40
  const masked = frame("x")
  masked[1]! |= 0x80
  const huge = Buffer.from([0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0])
  for (const bad of [
    compressed,
    masked,
    huge,
    frame("x", 3),
    frame("x", 11),
    frame("x", 0),
    frame("x", 9, false),
  ]) {
    expect(() => scrubber().push(bad)).toThrow(FrameFault)
  }
  const twice = scrubber()
  twice.push(frame("a", 1, false))
  expect(() => twice.push(frame("b", 1, true))).toThrow(FrameFault)
})

test("a run of empty fragments behind held bytes costs its length, not its square", () => {
  const frames = [frame(SECRET.slice(0, 9), 1, false), ...new Array<Buffer>(32_000).fill(Buffer.from([0, 0]))]
  const startedAt = performance.now()
  const out = scrubber().push(Buffer.concat(frames))
  expect(performance.now() - startedAt).toBeLessThan(500)
  expect(out.length).toBe(2)
})
