/** The HTTP/1.1 codec by itself: what it reads does not depend on how the bytes arrive, and what it writes it reads. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { BodyReader, BodyWriter, type ByteSource, pump } from "../../sidecars/egress/http1/body.ts"
import { checkHead } from "../../sidecars/egress/http1/check.ts"
import { HttpFault } from "../../sidecars/egress/http1/fault.ts"
import { type Framing, requestFraming, responseFraming } from "../../sidecars/egress/http1/framing.ts"
import { parseRequestHead, parseResponseHead } from "../../sidecars/egress/http1/head.ts"
import { readHead } from "../../sidecars/egress/http1/read.ts"

/** Bytes that arrive in given pieces, then end. */
class Pieces implements ByteSource {
  readonly broken: boolean
  #pieces: Buffer[]
  constructor(pieces: Buffer[], broken = false) {
    this.broken = broken
    this.#pieces = pieces.filter((piece) => piece.length > 0)
  }
  take(): Buffer | undefined {
    return this.#pieces.shift()
  }
  unread(piece: Buffer): void {
    if (piece.length > 0) this.#pieces.unshift(piece)
  }
  more(): Promise<void> {
    return Promise.resolve()
  }
  get ended(): boolean {
    return this.#pieces.length === 0
  }
  get rest(): string {
    return Buffer.concat(this.#pieces).toString("latin1")
  }
}

function cut(text: string, at: number[]): Buffer[] {
  const bytes = Buffer.from(text, "latin1")
  const points = [...new Set(at.map((n) => n % (bytes.length + 1)))].sort((a, b) => a - b)
  let from = 0
  const pieces = points.map((to) => {
    const piece = bytes.subarray(from, to)
    from = to
    return piece
  })
  return [...pieces, bytes.subarray(from)]
}

function readAll(source: Pieces, framing: Framing): { body: string; reader: BodyReader } {
  const reader = new BodyReader(source, framing)
  let body = ""
  for (;;) {
    const piece = reader.poll()
    if (piece === null || piece === undefined) return { body, reader }
    body += piece.toString("latin1")
  }
}

const cuts = fc.array(fc.nat(5000), { maxLength: 12 })
const latin1 = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString("latin1"))

describe("heads", () => {
  test("are read alike however they are cut, and what follows stays", async () => {
    const head = "POST /x?y HTTP/1.1\r\nHost: a\r\nX-A:  b c \t\r\nContent-Length: 3\r\n\r\n"
    await fc.assert(
      fc.asyncProperty(cuts, latin1, async (at, after) => {
        const source = new Pieces(cut(head + after, at))
        const bytes = (await readHead(source))!
        expect(bytes.toString("latin1")).toBe(head)
        expect(source.rest).toBe(after)
        expect(parseRequestHead(bytes)).toEqual({
          method: "POST",
          target: "/x?y",
          minor: 1,
          fields: [
            { name: "Host", key: "host", value: "a" },
            { name: "X-A", key: "x-a", value: "b c" },
            { name: "Content-Length", key: "content-length", value: "3" },
          ],
        })
      }),
    )
  })

  test("of answers may lack the reason, and nothing else", () => {
    const parse = (line: string) => parseResponseHead(Buffer.from(`${line}\r\nA: 1\r\n\r\n`))
    expect(parse("HTTP/1.1 200 OK then").reason).toBe("OK then")
    expect(parse("HTTP/1.1 200 ").reason).toBe("")
    expect(parse("HTTP/1.0 200")).toMatchObject({ status: 200, reason: "", minor: 0 })
    for (const bad of [
      "HTTP/1.1 20",
      "HTTP/1.1 600 X",
      "HTTP/2 200 OK",
      "HTTP/1.1  200 OK",
      "http/1.1 200 OK",
      "",
    ]) {
      expect(() => parse(bad)).toThrow(HttpFault)
    }
  })

  test("whatever bytes come, the answer is a head or a fault, and an accepted head has one reading", async () => {
    const piece = fc.constantFrom(
      "GET",
      "POST",
      " ",
      "/",
      "*",
      "HTTP/1.1",
      "HTTP/1.0",
      "\r\n",
      "\n",
      "\r",
      ":",
      "Host: a",
      "Content-Length: 1",
      "Content-Length: 2",
      "Transfer-Encoding: chunked",
      "Transfer-Encoding:\tx",
      "\0",
      "\t",
      "X",
      "\x80",
      "Upgrade: h2c",
      "Connection: upgrade",
    )
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 30 }), async (parts) => {
        const text = `GET / HTTP/1.1\r\nHost: a\r\n${parts.join("")}\r\n\r\n`
        try {
          const bytes = (await readHead(new Pieces([Buffer.from(text, "latin1")])))!
          const head = parseRequestHead(bytes)
          const checked = checkHead(head, "tunnel")
          const again = head.fields.map((field) => `${field.name}: ${field.value}\r\n`).join("")
          const second = parseRequestHead(Buffer.from(`GET / HTTP/1.1\r\n${again}\r\n`, "latin1"))
          expect(second.fields).toEqual(head.fields)
          expect(checked.host).toBe("a")
          expect(/[\0\r\n]/.test(head.fields.map((field) => field.name + field.value).join(""))).toBe(false)
        } catch (error) {
          expect(error).toBeInstanceOf(HttpFault)
        }
      }),
      { numRuns: 2000, seed: 20 },
    )
  })
})

describe("framing", () => {
  const request = (fields: string) =>
    requestFraming(parseRequestHead(Buffer.from(`POST / HTTP/1.1\r\n${fields}\r\n`)))
  test("of requests is none, a length or chunked, and never two of them", () => {
    expect(request("A: b\r\n")).toEqual({ kind: "none" })
    expect(request("Content-Length: 007\r\n")).toEqual({ kind: "length", length: 7 })
    expect(request("Transfer-Encoding: CHUNKED\r\n")).toEqual({ kind: "chunked" })
    for (const bad of ["-1", "1e3", "0x1", "1 1", "1,1", "", "9".repeat(16)]) {
      expect(() => request(`Content-Length: ${bad}\r\n`)).toThrow(HttpFault)
    }
  })

  test("of answers follows status and method", () => {
    const answer = (status: number, method: string, fields = "Content-Length: 5\r\n") =>
      responseFraming(parseResponseHead(Buffer.from(`HTTP/1.1 ${status} X\r\n${fields}\r\n`)), method)
    expect(answer(200, "GET")).toEqual({ kind: "length", length: 5 })
    for (const status of [100, 103, 204, 304]) expect(answer(status, "GET")).toEqual({ kind: "none" })
    expect(answer(200, "HEAD")).toEqual({ kind: "none" })
    expect(answer(200, "GET", "A: b\r\n")).toEqual({ kind: "close" })
  })
})

describe("bodies", () => {
  test("with a length end there, however they are cut", () => {
    fc.assert(
      fc.property(latin1, latin1, cuts, (body, after, at) => {
        const source = new Pieces(cut(body + after, at))
        const read = readAll(source, { kind: "length", length: body.length })
        expect([read.body, read.reader.done, source.rest]).toEqual([body, true, after])
      }),
    )
  })

  test("that are chunked come out of what was written, with trailers, however they are cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(latin1, { maxLength: 8 }), latin1, cuts, async (parts, after, at) => {
        let text = ""
        const sink = {
          write: (data: Buffer | string) => {
            text += data.toString("latin1")
            return true
          },
          drained: () => Promise.resolve(),
          closed: false,
        }
        const plain = new BodyReader(new Pieces(parts.map((part) => Buffer.from(part, "latin1"))), {
          kind: "close",
        })
        const trailer = { name: "X-Sum", key: "x-sum", value: "1" }
        await pump(plain, new BodyWriter(sink, { kind: "chunked" }, ""), undefined, () => [trailer])
        const source = new Pieces(cut(text + after, at))
        const read = readAll(source, { kind: "chunked" })
        expect([read.body, read.reader.done, source.rest]).toEqual([parts.join(""), true, after])
        expect(read.reader.trailers).toEqual([trailer])
      }),
    )
  })

  test("that end too early are faults", () => {
    for (const [text, framing] of [
      ["abc", { kind: "length", length: 4 }],
      ["3\r\nabc\r\n", { kind: "chunked" }],
      ["3\r\nab", { kind: "chunked" }],
      ["0\r\n", { kind: "chunked" }],
    ] as [string, Framing][]) {
      expect(() => readAll(new Pieces([Buffer.from(text)]), framing)).toThrow(HttpFault)
    }
  })

  test("that end with the connection are whole after its end, and cut short after its loss", () => {
    expect(readAll(new Pieces([Buffer.from("abc")]), { kind: "close" }).body).toBe("abc")
    expect(() => readAll(new Pieces([Buffer.from("abc")], true), { kind: "close" })).toThrow(HttpFault)
  })

  test("in chunks of one byte let the event loop have its turn between", async () => {
    const source = new Pieces([Buffer.from(`${"1\r\nx\r\n".repeat(200_000)}0\r\n\r\n`)])
    const sink = { write: () => true, drained: () => Promise.resolve(), closed: false }
    let turns = 0
    let done = false
    const count = (): void => {
      turns++
      if (!done) setImmediate(count)
    }
    setImmediate(count)
    const reader = new BodyReader(source, { kind: "chunked" })
    await pump(reader, new BodyWriter(sink, { kind: "chunked" }, ""), undefined, (fields) => fields)
    done = true
    expect(reader.bytes).toBe(200_000)
    expect(turns).toBeGreaterThan(3)
  })

  test("with chunk lines that parsers read differently are faults", () => {
    for (const bad of ["+3", "0x3", " 3", "3 x", "", ";x", "-1", "3\t;\0", "fffffffffffff", "3\rx"]) {
      expect(() =>
        readAll(new Pieces([Buffer.from(`${bad}\r\nabc\r\n0\r\n\r\n`)]), { kind: "chunked" }),
      ).toThrow(HttpFault)
    }
    for (const good of ["3", "03", "3;a", "3 ; a=b", "3\t"]) {
      expect(
        readAll(new Pieces([Buffer.from(`${good}\r\nabc\r\n0\r\n\r\n`)]), { kind: "chunked" }).body,
      ).toBe("abc")
    }
  })
})
