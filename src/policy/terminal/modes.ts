/**
 * What a program has switched on in a terminal: so that whoever leaves gets their own terminal back, and whoever comes
 * later gets the program's.
 */
import { admits } from "./admission.ts"
import { type ControlSequence, readControlSequence } from "./csi.ts"
import { KeyboardStack } from "./keyboard.ts"
import { TerminalParser, type TokenKind } from "./parser.ts"
import type { TerminalPermission } from "./permission.ts"

/** What never passes changes no terminal, so it is not followed either. */
const ALL: ReadonlySet<TerminalPermission> = new Set(["clipboard", "title", "notify"])

/** DEC private modes that are off in a terminal that nobody touched, and are switched off again. */
const OFF = new Set([
  1, 5, 6, 9, 12, 45, 66, 69, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004, 2026, 2027, 2031, 2048,
])
/** Those that are on: lines wrap, keys repeat, the cursor is seen. */
const ON = new Set([7, 8, 25])
/** Those whose state before is the terminal's own: given to whoever comes later, and left as they are at the end. */
const OWN = new Set([1007, 1034, 1036, 1039])
const ALTERNATE_SCREENS = new Set([47, 1047, 1049])
/** The screen stands still while this is on, until the program, which was in the midst of drawing, switches it off. */
const SYNCHRONIZED = 2026
/** What the mouse reports: to xterm one setting, which any of them off ends; to others one each. */
const MOUSE = new Set([9, 1000, 1002, 1003])
const ORIGIN = 6
const MARGINS = 69

const DYNAMIC_COLOUR = /^\u001b\]1([01279]);(\??)/
const LATIN1 = new TextDecoder("latin1")
const UTF8 = new TextEncoder()

export class TerminalModes {
  readonly #parser = new TerminalParser((kind, bytes, from, to) => {
    if (kind !== "text" && admits(kind, bytes, from, to, ALL)) this.apply(kind, bytes, from, to)
  })
  /** DEC private modes that are not as they were, and how they are */
  #private = new Map<number, boolean>()
  /** Mode of the mouse that a program gets where there is one, 0 for none */
  #mouse = 0
  /** ANSI modes that are on */
  #ansi = new Set<number>()
  /** Mode by which the alternate screen was entered, 0 on the main screen */
  #alternate = 0
  #keyboard = { main: new KeyboardStack(), alternate: new KeyboardStack() }
  /** Level of xterm's modifyOtherKeys */
  #otherKeys = 0
  #keypad = false
  /** Character sets that are not ASCII, by the byte that names G0 to G3 */
  #charsets = new Map<string, string>()
  #shifted = false
  #region: string | undefined
  #margins: string | undefined
  #styled = false
  #cursor = 0
  #link = false
  #progress = false
  #palette = false
  /** Colours of text, background and the like, by the last digit of their OSC */
  #colours = new Map<string, string>()

  push(chunk: Uint8Array): void {
    this.#parser.push(chunk)
  }

  /** Follows one token that passed the filter. */
  apply(kind: TokenKind, bytes: Uint8Array, from: number, to: number): void {
    if (kind === "control") {
      if (bytes[from] === 0x0e) this.#shifted = true
      else if (bytes[from] === 0x0f) this.#shifted = false
    } else if (kind === "escape") {
      this.#escape(LATIN1.decode(bytes.subarray(from + 1, to)))
    } else if (kind === "csi") {
      const sequence = readControlSequence(bytes, from, to)
      if (sequence !== undefined) this.#csi(sequence)
    } else if (kind === "osc") {
      this.#osc(bytes, from, to)
    }
  }

  /** Bytes that bring a terminal in its own state to where the program believes it to be. */
  set(): Uint8Array {
    const { main, alternate } = this.#keyboard
    let out = main.set()
    if (this.#alternate !== 0) out += `\u001b[?${this.#alternate}h${alternate.set()}`
    if (this.#otherKeys !== 0) out += `\u001b[>4;${this.#otherKeys}m`
    if (this.#private.get(MARGINS) === true) out += `\u001b[?${MARGINS}h${this.#margins ?? ""}`
    out += this.#region ?? ""
    for (const [mode, on] of this.#private) {
      if (mode !== SYNCHRONIZED && mode !== MARGINS && !MOUSE.has(mode))
        out += `\u001b[?${mode}${on ? "h" : "l"}`
    }
    if (this.#mouse !== 0) out += `\u001b[?${this.#mouse}h`
    for (const mode of this.#ansi) out += `\u001b[${mode}h`
    if (this.#keypad) out += "\u001b="
    for (const [slot, charset] of this.#charsets) out += `\u001b${slot}${charset}`
    if (this.#shifted) out += "\u000e"
    if (this.#cursor !== 0) out += `\u001b[${this.#cursor} q`
    for (const colour of this.#colours.values()) out += colour
    return UTF8.encode(out)
  }

  /** Bytes that give a terminal back as it was. Nothing for what the program left alone or put back itself. */
  reset(): Uint8Array {
    const { main, alternate } = this.#keyboard
    let out = ""
    if (this.#private.has(SYNCHRONIZED)) out += `\u001b[?${SYNCHRONIZED}l`
    if (this.#link) out += "\u001b]8;;\u001b\\"
    if (this.#progress) out += "\u001b]9;4;0\u001b\\"
    if (this.#styled) out += "\u001b[m"
    // Each screen has a stack of its own, and only the one that is seen can be changed.
    if (this.#alternate !== 0) out += `${alternate.reset()}\u001b[?${this.#alternate}l`
    out += main.reset()
    if (this.#otherKeys !== 0) out += "\u001b[>4m"
    for (const [mode, on] of this.#private) {
      if (mode === SYNCHRONIZED || mode === ORIGIN || OWN.has(mode)) continue
      out += `\u001b[?${mode}${on ? "l" : "h"}`
    }
    for (const mode of this.#ansi) out += `\u001b[${mode}l`
    out += this.#resetRegion()
    if (this.#keypad) out += "\u001b>"
    for (const slot of this.#charsets.keys()) out += `\u001b${slot}B`
    if (this.#shifted) out += "\u000f"
    if (this.#cursor !== 0) out += "\u001b[0 q"
    if (this.#palette) out += "\u001b]104\u001b\\"
    for (const digit of this.#colours.keys()) out += `\u001b]11${digit}\u001b\\`
    return UTF8.encode(out)
  }

  /** Both send the cursor home, where the shell's prompt would overwrite what stands there. */
  #resetRegion(): string {
    // A restored cursor brings origin mode back, so with that the last line has to do.
    if (this.#private.has(ORIGIN)) return `\u001b[?${ORIGIN}l\u001b[r\u001b[9999;1H`
    return this.#region === undefined ? "" : "\u001b7\u001b[r\u001b8"
  }

  /** The screen that is seen. */
  get screen(): "main" | "alternate" {
    return this.#alternate === 0 ? "main" : "alternate"
  }

  /** Whether the terminal types by itself: mouse, focus, theme or size of the window. */
  get reports(): boolean {
    return this.#mouse !== 0 || [1004, 2031, 2048].some((mode) => this.#private.get(mode) === true)
  }

  #escape(text: string): void {
    if (text === "c") this.#clear()
    else if (text === "=") this.#keypad = true
    else if (text === ">") this.#keypad = false
    else if (text.length === 2 && "()*+".includes(text[0]!)) {
      if (text[1] === "B") this.#charsets.delete(text[0]!)
      else this.#charsets.set(text[0]!, text[1]!)
    }
  }

  #csi({ name, params, colons }: ControlSequence): void {
    const [first = 0, second = 0] = params
    const keyboard = this.#alternate === 0 ? this.#keyboard.main : this.#keyboard.alternate
    switch (name) {
      case "?h":
      case "?l":
        for (const mode of params) this.#setPrivate(mode, name === "?h")
        break
      case "h":
        for (const mode of params) this.#ansi.add(mode)
        break
      case "l":
        for (const mode of params) this.#ansi.delete(mode)
        break
      case "m":
        this.#styled = colons || params.some((value) => value !== 0)
        break
      case "r":
        this.#region = first + second === 0 ? undefined : `\u001b[${params.join(";")}r`
        break
      case "s":
        // With a parameter only: without, it saves the cursor where margins are off.
        if (params.length > 0 && this.#private.get(MARGINS) === true) {
          this.#margins = first + second === 0 ? undefined : `\u001b[${params.join(";")}s`
        }
        break
      case " q":
        this.#cursor = first
        break
      case ">u":
        keyboard.push(first)
        break
      case "<u":
        keyboard.pop(Math.max(first, 1))
        break
      case "=u":
        keyboard.change(first, second)
        break
      case ">m":
        this.#otherKeys = second
        break
      case ">n":
        this.#otherKeys = 0
        break
      case "!p":
        this.#softReset()
        break
    }
  }

  #setPrivate(mode: number, on: boolean): void {
    if (ALTERNATE_SCREENS.has(mode)) {
      this.#alternate = on ? this.#alternate || mode : 0
      return
    }
    if (mode === MARGINS) this.#margins = undefined
    if (MOUSE.has(mode)) this.#mouse = on ? mode : 0
    // In the order in which they were switched: of the forms of mouse reports the last one counts.
    this.#private.delete(mode)
    if (OWN.has(mode) || (OFF.has(mode) && on) || (ON.has(mode) && !on)) this.#private.set(mode, on)
  }

  #osc(bytes: Uint8Array, from: number, to: number): void {
    // All that is followed here is short, links aside, and of those only the end counts.
    const text = LATIN1.decode(bytes.subarray(from, Math.min(to, from + 128)))
    const colour = DYNAMIC_COLOUR.exec(text)
    if (colour !== null) {
      if (colour[2] === "") this.#colours.set(colour[1]!, text)
    } else if (text.startsWith("\u001b]8;")) {
      this.#link = !/^\u001b\]8;[^;]*;(?:\u0007|\u001b)/.test(LATIN1.decode(bytes.subarray(from, to)))
    } else if (text.startsWith("\u001b]9;4;")) {
      this.#progress = text[6] !== "0"
    } else if (text.startsWith("\u001b]4;")) {
      // Number and colour in turn, and a question mark asks for one.
      this.#palette ||= text.split(";").some((part, i) => i > 0 && i % 2 === 0 && !part.startsWith("?"))
    } else if (/^\u001b\]104[^\d;]/.test(text)) {
      this.#palette = false
    } else if (text.startsWith("\u001b]11")) {
      this.#colours.delete(text[4]!)
    }
  }

  /** DECSTR (VT220): keys, cursor, region, character sets and style, but neither the screen nor mouse and paste. */
  #softReset(): void {
    for (const mode of [1, ORIGIN, 7, 25, 66, MARGINS]) this.#private.delete(mode)
    this.#ansi.clear()
    this.#keypad = false
    this.#charsets.clear()
    this.#shifted = false
    this.#region = undefined
    this.#margins = undefined
    this.#styled = false
  }

  /** RIS. Colours stay: some terminals keep them. */
  #clear(): void {
    this.#softReset()
    this.#private.clear()
    this.#mouse = 0
    this.#alternate = 0
    this.#keyboard = { main: new KeyboardStack(), alternate: new KeyboardStack() }
    this.#otherKeys = 0
    this.#cursor = 0
    this.#link = false
  }
}
