/** CSI sequences taken apart, and the list of those that may reach a terminal. */

/** A CSI sequence, `CSI prefix params intermediates final`. */
export interface ControlSequence {
  /** Private prefix, intermediates and final byte, such as `?h` or ` q` */
  name: string
  /** Values of the parameters in order, an absent one as 0; of parts that colons separate, all */
  params: number[]
  /** Whether a colon separates any of them */
  colons: boolean
}

/**
 * Largest value of a parameter. Terminals took a count for a loop without looking at the screen's size: one sequence
 * with a large count stopped VTE's (CVE-2012-2738). Key codes and positions stay far below.
 */
const PARAMETER_MAX = 65_535

/** Takes `bytes[from..to)` apart, a token of kind `csi`; undefined when a parameter is out of bounds. */
export function readControlSequence(
  bytes: Uint8Array,
  from: number,
  to: number,
): ControlSequence | undefined {
  let i = from + 2
  let name = ""
  if (bytes[i]! >= 0x3c && bytes[i]! <= 0x3f) name = String.fromCharCode(bytes[i++]!)
  const params: number[] = []
  let colons = false
  let value = 0
  const begin = i
  for (; i < to; i++) {
    const byte = bytes[i]!
    if (byte <= 0x39 && byte >= 0x30) {
      value = value * 10 + byte - 0x30
      if (value > PARAMETER_MAX) return undefined
    } else if (byte === 0x3b || byte === 0x3a) {
      params.push(value)
      value = 0
      if (byte === 0x3a) colons = true
    } else break
  }
  if (i > begin) params.push(value)
  for (; i < to; i++) name += String.fromCharCode(bytes[i]!)
  return { name, params, colons }
}

/**
 * DEC private modes that may be switched. Not among them: 2 (VT52, another syntax, in which what was checked here
 * means something else) and 38 (Tektronix, the same); 3 and 40 (132 columns, resizes the window); 18 and 19 (printing);
 * 42 (national character sets); 46 (xterm writes all that it shows to a log file); 1001 (the terminal waits for an
 * answer of the program and hangs without it); 1042 and 1043 (raise the window); 1046 (forbids to leave the alternate
 * screen); 5522 (clipboard contents are sent when the user pastes); 9001 (keys as Windows counts them).
 */
const PRIVATE_MODES = new Set([
  1, 5, 6, 7, 8, 9, 12, 25, 45, 47, 66, 69, 1000, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016, 1034, 1036,
  1039, 1047, 1048, 1049, 2004, 2026, 2027, 2031, 2048,
])

/** Insert, and line feed as new line. Not 2, which locks the keyboard, nor 12, which echoes what the user types. */
const ANSI_MODES = new Set([4, 20])

/** Resource of xterm's key modifier options that programs use: modifyOtherKeys. */
const MODIFY_OTHER_KEYS = 4

type Rule = (params: readonly number[]) => boolean

const upTo =
  (count: number): Rule =>
  (params) =>
    params.length <= count
const oneOf =
  (...values: number[]): Rule =>
  (params) =>
    params.length === 1 && values.includes(params[0]!)
const allOf =
  (values: ReadonlySet<number>): Rule =>
  (params) =>
    params.length > 0 && params.every((value) => values.has(value))
const absentOrZero: Rule = (params) => params.length === 0 || (params.length === 1 && params[0] === 0)

/**
 * What may pass. Of what terminals know and is not here:
 * - `i`, `?i` media copy: prints the screen, or sends it through a printer command (`CSI 5 i`) that shells wrap.
 * - `t` window operations: move, resize, iconify and raise windows, and report the title as if the user had typed it
 *   (CVE-2003-0063; again in Ghostty, CVE-2024-56803, and in iTerm2, CVE-2024-38396).
 * - `>t`, `>T` title modes, which turn those reports into hexadecimal.
 * - `*y`, `#y` checksums of areas: read the screen back, letter by letter.
 * - `"p` conformance level and with it 8-bit controls; `?s` and `?r`, modes saved and restored past our tracking.
 * - `$|`, `*|`, `?3h` columns and lines: resize the window. `x` and `?15n` to `?63n`: reports that only tests ask for.
 * - `y` self test, `q` keyboard lamps, `>s` takes shift away from the user's own selection, `>p` hides the pointer.
 * - `]`, the Linux console's: beeps, blanking, which console is seen. `'z`, `'{` and `'|`: DEC's locator.
 */
const RULES = new Map<string, Rule>([
  ..."@ABCDEFGIKLMPSTXZ`abdeg".split("").map((final): [string, Rule] => [final, upTo(1)]),
  ["J", upTo(1)],
  ["H", upTo(2)],
  ["f", upTo(2)],
  ["r", upTo(2)],
  ["s", upTo(2)],
  ["u", upTo(0)],
  ["m", () => true],
  ["h", allOf(ANSI_MODES)],
  ["l", allOf(ANSI_MODES)],
  ["?h", allOf(PRIVATE_MODES)],
  ["?l", allOf(PRIVATE_MODES)],
  ["?J", upTo(1)],
  ["?K", upTo(1)],
  ["!p", upTo(0)],
  [" q", upTo(1)],
  [" @", upTo(1)],
  [" A", upTo(1)],
  ["'}", upTo(1)],
  ["'~", upTo(1)],
  // Questions whose answers have a form of their own, with nothing in them that the asker could choose.
  ["n", oneOf(5, 6)],
  ["?n", oneOf(6, 996)],
  ["c", absentOrZero],
  [">c", absentOrZero],
  ["=c", absentOrZero],
  [">q", absentOrZero],
  ["$p", upTo(1)],
  ["?$p", upTo(1)],
  ["?u", absentOrZero],
  ["?m", oneOf(MODIFY_OTHER_KEYS)],
  // The keyboard: kitty's protocol and xterm's.
  [">u", upTo(1)],
  ["<u", upTo(1)],
  ["=u", upTo(2)],
  [">m", (params) => params.length <= 2 && (params[0] ?? MODIFY_OTHER_KEYS) === MODIFY_OTHER_KEYS],
  [">n", oneOf(MODIFY_OTHER_KEYS)],
])

/** Pushes and pops the title: the only window operations that a title needs. */
const TITLE_STACK: Rule = ([operation = 0, which = 0, ...rest]) =>
  (operation === 22 || operation === 23) && which <= 2 && rest.length === 0

/** Whether a CSI sequence may pass. */
export function admitsControlSequence(sequence: ControlSequence, title: boolean): boolean {
  const { name, params, colons } = sequence
  if (name === "m") return true
  if (colons) return false
  if (name === "t") return title && TITLE_STACK(params)
  return RULES.get(name)?.(params) === true
}
