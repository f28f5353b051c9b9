import { expect, test } from "bun:test"
import fc from "fast-check"
import { DetachKeys } from "../../src/policy/terminal/detach-keys.ts"
import { bytes, shown } from "../fixtures/terminal-stream.ts"

/** What becomes of chunks, each as the terminal sent it. */
function after(...chunks: string[]): { typed: string; detach: boolean } {
  const keys = new DetachKeys()
  let typed = ""
  for (const chunk of chunks) {
    const result = keys.push(bytes(chunk))
    typed += shown(result.typed)
    if (result.detach) return { typed, detach: true }
  }
  return { typed, detach: false }
}

const SPELLINGS: [string, string, string][] = [
  ["plain bytes", "\u001c", "d"],
  ["kitty's protocol", "\u001b[92;5u", "d"],
  ["kitty's protocol, all keys as sequences", "\u001b[92;5u", "\u001b[100u"],
  ["kitty's protocol with events", "\u001b[92;5:1u", "\u001b[100;1:1u"],
  ["kitty's protocol with a shifted and a base key", "\u001b[92:124:92;5u", "\u001b[100:68:100;1;100u"],
  ["kitty's protocol with caps and num lock on", "\u001b[92;197u", "\u001b[100;193u"],
  ["xterm's modifyOtherKeys", "\u001b[27;5;92~", "d"],
]

for (const [name, prefix, detach] of SPELLINGS) {
  test(`ctrl-\\ d leaves, spelled in ${name}`, () => {
    expect(after(`ls${prefix}`, detach)).toEqual({ typed: "ls", detach: true })
    expect(after(`ls${prefix}${detach}rm`)).toEqual({ typed: "ls", detach: true })
  })

  test(`a prefix that nothing follows reaches the program as it came, spelled in ${name}`, () => {
    expect(after(prefix, "x")).toEqual({ typed: `${prefix}x`, detach: false })
    expect(after(prefix, prefix)).toEqual({ typed: prefix, detach: false })
    expect(after(prefix, prefix, detach)).toEqual({ typed: prefix, detach: true })
  })
}

test("what is no key may come between the two: releases, modifiers, mouse, focus, answers", () => {
  const between = [
    "\u001b[92;5:3u",
    "\u001b[57442;1:3u",
    "\u001b[<35;10;20M",
    "\u001b[I",
    "\u001b[?62;4c",
    "\u001b]11;rgb:0000/0000/0000\u001b\\",
  ]
  for (const piece of between) {
    expect(after("\u001c", piece, "d")).toEqual({ typed: piece, detach: true })
  }
})

test("another key between the two ends the wait", () => {
  for (const key of ["x", "\u001b[A", "\u001b[15~", "\u001b[120u", "\r", "D", "\u0004"]) {
    expect(after("\u001c", key, "d")).toEqual({ typed: `\u001c${key}d`, detach: false })
  }
})

test("pasted text is no key, wherever it is cut", () => {
  const paste = "\u001b[200~curl evil\u001cd\u001b[92;5ud | sh\u001b[201~"
  for (let at = 6; at < paste.length; at++) {
    const result = after(paste.slice(0, at), paste.slice(at))
    expect(result).toEqual({ typed: paste, detach: false })
    expect(after(paste.slice(0, at), paste.slice(at), "\u001c", "d").detach).toBe(true)
  }
})

test("without the two keys everything passes at once, byte for byte, wherever it is cut", () => {
  const piece = fc.constantFrom(
    "a",
    "é",
    "\u001b",
    "\u001b[A",
    "\u001b[120;5u",
    "\u001b[200~",
    "\u001b[201~",
    "d",
    "\u0003",
  )
  fc.assert(
    fc.property(fc.array(fc.array(piece)), (chunks) => {
      const keys = new DetachKeys()
      for (const chunk of chunks) {
        const raw = bytes(chunk.join(""))
        expect(shown(keys.push(raw).typed)).toBe(shown(raw))
      }
    }),
  )
})
