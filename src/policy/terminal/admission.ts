/** Which tokens of an agent's output may reach a terminal. What is not known to be harmless does not. */
import { admitsControlSequence, readControlSequence } from "./csi.ts"
import type { TokenKind } from "./parser.ts"
import type { TerminalPermission } from "./permission.ts"
import { admitsDcs, admitsOsc } from "./strings.ts"

/**
 * BEL, BS, HT, LF, VT, FF, CR, SO and SI. Not ENQ, which types in the answerback text that a user or an earlier escape
 * has set; nor CAN, the beginning of a ZMODEM transfer (`**` CAN `B0`), which several terminals start by themselves;
 * nor XON and XOFF, which stop a terminal.
 */
const CONTROLS = new Set([0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f])

/**
 * ESC sequences, without the ESC: cursor saved and restored, line moves, tab stop, keypad, full reset, ASCII and line
 * drawing in the four character sets, line sizes, alignment. Not `Z` (identify), ` F` and ` G` (8-bit replies), `%@` and
 * `%G` (leaves UTF-8 and enters it: what was checked as one would be read as the other), `l` and `m` (lock memory), `n`,
 * `o`, `|`, `}`, `~` (locking shifts), nor rxvt's `G`, whose answer held a line end (CVE-2021-33477).
 */
const ESCAPES = new Set([
  ..."78DEHMc=>",
  ..."()*+".split("").flatMap((set) => [..."0AB12"].map((charset) => set + charset)),
  ...["#3", "#4", "#5", "#6", "#8"],
])

/**
 * Whether a token may pass. Strings that are neither OSC nor DCS never do: kitty's graphics (APC) read files by name
 * and echoed that name as input (CVE-2020-35605), and PM, SOS and ESC k name tmux' and screen's windows or do nothing.
 */
export function admits(
  kind: TokenKind,
  bytes: Uint8Array,
  from: number,
  to: number,
  allow: ReadonlySet<TerminalPermission>,
): boolean {
  switch (kind) {
    case "text":
      return true
    case "control":
      return CONTROLS.has(bytes[from]!)
    case "escape":
      return ESCAPES.has(String.fromCharCode(...bytes.subarray(from + 1, to)))
    case "csi": {
      const sequence = readControlSequence(bytes, from, to)
      return sequence !== undefined && admitsControlSequence(sequence, allow.has("title"))
    }
    case "osc":
      return admitsOsc(bytes, from, to, allow)
    case "dcs":
      return admitsDcs(bytes, from, to)
    default:
      return false
  }
}
