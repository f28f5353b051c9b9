import { describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import fc from "fast-check"
import { lengthOf, sessionRequest } from "../../src/policy/wire/lifeline.ts"
import {
  COMMAND_MAX,
  encodeBytes,
  encodeFrame,
  FRAME,
  FRAME_MAX,
  type Frame,
  FrameReader,
  parsePayload,
  sessionExit,
  sessionFault,
  sessionSignal,
  sessionTaken,
  terminalSize,
} from "../../src/policy/wire/session.ts"

const frame = fc.record({
  kind: fc.integer({ min: 0, max: 255 }),
  payload: fc.uint8Array({ maxLength: 300 }),
})

/** A stream in pieces of any size, single bytes and empty ones too. */
function cut(stream: Buffer, sizes: number[]): Buffer[] {
  const pieces: Buffer[] = []
  let at = 0
  for (let i = 0; at < stream.length; i += 1) {
    const size = sizes[i % sizes.length] ?? 1
    // Each piece in memory of its own, as a socket hands it over.
    pieces.push(Buffer.from(stream.subarray(at, at + size)))
    at += size
  }
  return pieces
}

function readAll(pieces: Buffer[]): Frame[] {
  const reader = new FrameReader()
  return pieces.flatMap((piece) => reader.push(piece))
}

const plain = (frames: { kind: number; payload: Uint8Array }[]) =>
  frames.map(({ kind, payload }) => ({ kind, payload: [...payload] }))

describe("frames", () => {
  test("come out as they went in, wherever the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 30 }),
        fc
          .array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 20 })
          .filter((sizes) => sizes.some((size) => size > 0)),
        (frames, sizes) => {
          const stream = Buffer.concat(frames.map(({ kind, payload }) => encodeFrame(kind, payload)))
          expect(plain(readAll(cut(stream, sizes)))).toEqual(plain(frames))
        },
      ),
    )
  })

  test("for bytes of any length are none too long, and lose and add nothing", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.constantFrom(0, 1, FRAME_MAX - 1, FRAME_MAX, FRAME_MAX + 1, 3 * FRAME_MAX),
          fc.integer({ min: 0, max: 4 * FRAME_MAX }),
        ),
        (length) => {
          const bytes = randomBytes(length)
          const encoded = [...encodeBytes(FRAME.output, bytes)]
          const frames = readAll(encoded)
          expect(frames.every(({ kind, payload }) => kind === FRAME.output && payload.length > 0)).toBe(true)
          expect(encoded.every((part) => part.length <= FRAME_MAX + 5)).toBe(true)
          expect(Buffer.concat(frames.map(({ payload }) => payload)).equals(bytes)).toBe(true)
        },
      ),
      { numRuns: 30 },
    )
  })

  test("longer than agreed are not made", () => {
    expect(encodeFrame(FRAME.input, Buffer.alloc(FRAME_MAX)).length).toBe(FRAME_MAX + 5)
    expect(() => encodeFrame(FRAME.input, Buffer.alloc(FRAME_MAX + 1))).toThrow(RangeError)
  })

  test("longer than agreed are refused by their head alone, so that nothing is held for them", () => {
    for (const length of [FRAME_MAX + 1, 0x7fffffff, 0xffffffff]) {
      const head = Buffer.alloc(5)
      head[0] = FRAME.output
      head.writeUInt32BE(length, 1)
      expect(() => new FrameReader().push(head)).toThrow(RangeError)
      const reader = new FrameReader()
      for (const byte of head.subarray(0, 4)) expect(reader.push(Buffer.of(byte))).toEqual([])
      expect(() => reader.push(head.subarray(4))).toThrow(RangeError)
    }
    // The control: the longest there may be is waited for.
    const head = Buffer.alloc(5)
    head.writeUInt32BE(FRAME_MAX, 1)
    expect(new FrameReader().push(head)).toEqual([])
  })

  test("of noise are frames or a RangeError, never anything else", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 400 }), { maxLength: 40 }), (noise) => {
        const reader = new FrameReader()
        let taken = 0
        try {
          for (const piece of noise)
            for (const { payload } of reader.push(Buffer.from(piece))) taken += payload.length + 5
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
        expect(taken).toBeLessThanOrEqual(noise.reduce((sum, piece) => sum + piece.length, 0))
      }),
    )
  })

  test("that come byte by byte are whole in the end", () => {
    const stream = encodeFrame(FRAME.output, Buffer.alloc(FRAME_MAX, 7))
    const reader = new FrameReader()
    const frames = [...stream].flatMap((byte) => reader.push(Buffer.of(byte)))
    expect(frames.map(({ payload }) => payload.length)).toEqual([FRAME_MAX])
  })
})

describe("what frames say", () => {
  const wrong: [string, (payload: Buffer) => unknown, string[]][] = [
    [
      "a size",
      (payload) => parsePayload(terminalSize, payload),
      [
        '{"rows":0,"columns":80}',
        '{"rows":24,"columns":4097}',
        '{"rows":24.5,"columns":80}',
        '{"rows":24,"columns":80,"more":1}',
        '{"rows":"24","columns":80}',
      ],
    ],
    [
      "a signal",
      (payload) => parsePayload(sessionSignal, payload),
      ['{"signal":"SIGKILL"}', '{"signal":9}', '{"signal":"SIGTERM","pid":1}'],
    ],
    [
      "an end",
      (payload) => parsePayload(sessionExit, payload),
      ['{"code":-1}', '{"code":256}', '{"code":"0"}', '{"code":1.5}', "{}"],
    ],
    [
      "a fault",
      (payload) => parsePayload(sessionFault, payload),
      ['{"reason":"x","code":0}', '{"code":127}', JSON.stringify({ reason: "x".repeat(1025) })],
    ],
    [
      "what was taken",
      (payload) => parsePayload(sessionTaken, payload),
      ['{"bytes":-1}', '{"bytes":1e400}', '{"bytes":"1"}'],
    ],
  ]
  for (const [what, read, texts] of wrong) {
    test(`${what} is as agreed, or an error`, () => {
      for (const text of [...texts, "", "[]", "null", "{", "\0"]) {
        expect(() => read(Buffer.from(text))).toThrow()
      }
    })
  }

  test("is understood when it is as agreed", () => {
    const read = <T>(schema: Parameters<typeof parsePayload<T>>[0], text: string) =>
      parsePayload(schema, Buffer.from(text))
    expect(read(terminalSize, '{"rows":1,"columns":4096}')).toEqual({ rows: 1, columns: 4096 })
    expect(read(sessionSignal, '{"signal":"SIGHUP"}')).toEqual({ signal: "SIGHUP" })
    expect(read(sessionExit, '{"code":255,"agent_ended":true}')).toEqual({ code: 255, agent_ended: true })
    expect(read(sessionFault, '{"reason":"none","code":126}')).toEqual({ reason: "none", code: 126 })
    expect(read(sessionTaken, '{"bytes":0}')).toEqual({ bytes: 0 })
  })
})

describe("a command", () => {
  const exec = (argv: string[]) => sessionRequest().safeParse({ kind: "exec", argv }).success

  test("is as long as agreed at most, counted as the kernel counts it", () => {
    const words = (bytes: number) => ["sh", "x".repeat(bytes - 4)]
    expect(lengthOf(words(COMMAND_MAX))).toBe(COMMAND_MAX)
    expect(exec(words(COMMAND_MAX))).toBe(true)
    expect(exec(words(COMMAND_MAX + 1))).toBe(false)
    expect(exec(["ä".repeat(COMMAND_MAX / 2)])).toBe(false)
    expect(exec(Array.from({ length: COMMAND_MAX + 1 }, () => ""))).toBe(false)
  })

  test("has a name", () => {
    expect(exec([])).toBe(false)
    expect(exec([""])).toBe(true)
  })
})
