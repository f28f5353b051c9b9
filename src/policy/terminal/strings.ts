/** Control strings (OSC and DCS) that may reach a terminal. */
import type { TerminalPermission } from "./permission.ts"
import { isPlainText } from "./utf8.ts"

/** Longest control string that passes, in bytes, the clipboard's aside: a link of 2083, as browsers take, and its id. */
const SHORT_STRING_MAX_BYTES = 4096
/** Longest title and notification, in bytes: more than any window or tab shows. */
const LABEL_MAX_BYTES = 512

/** A colour as XParseColor takes it: numbers or a name, never a question. */
const COLOUR = "(?:rgba?:[\\da-f]{1,4}(?:/[\\da-f]{1,4}){2,3}|#[\\da-f]{3,16}|[a-z][a-z\\d ]{0,31})"

/**
 * OSC strings that pass whoever is asked. Colours may be asked for and set, since light or dark is what themes turn
 * on; the answers hold numbers alone.
 */
const HARMLESS = [
  new RegExp(`^4(?:;\\d{1,3};(?:\\?|${COLOUR}))+$`, "i"),
  new RegExp(`^1[01279];(?:\\?|${COLOUR})$`, "i"),
  /^104(?:;\d{1,3})*;?$/,
  /^11[01279];?$/,
  // Links lead where a browser goes as well: file: opens what an agent wrote, and iTerm2 ran commands from ssh: and
  // x-man-page: (CVE-2023-46322, CVE-2023-46321). The id is only compared.
  /^8;(?:id=[\w.:+/@%-]{0,250})?;(?:(?:https?:\/\/|mailto:)[!-~]{1,2083})?$/i,
  // Progress in the task bar, of the many meanings of 9 the one without text.
  /^9;4;[0-4](?:;\d{0,3})?$/,
  // Marks of prompts and commands. Not with the text of a command (`cmdline=`), which the terminal offers to run again.
  /^133;[A-DILNP](?:;(?:\d{1,3}|(?:aid|cl|k|redraw|err)=[\w.-]{0,64}))*$/,
]

/** Window and icon title. Not `l`, `L` and `I`, Sun's spelling of it: `I` loads the icon from a file. */
const TITLE = /^[012];/
/**
 * A notification's text. What begins with a number is a command to ConEmu, and 9;7 runs a program there, 9;6 a macro.
 */
const NOTIFICATION = /^(?:9;(?!\d+(?:;|$))|777;notify;)/
/** kitty's notifications without buttons, icons from files and reports (one was run as code, CVE-2022-41322). */
const KITTY_NOTIFICATION = /^99;(?:(?:i=[\w.+-]{1,64}|[de]=[01]|p=title|p=body|u=[012])(?::(?!;)|(?=;)))*;/
/** The clipboard, written. Reading it (`?`) passes never: whatever the user copied last, passwords too, is typed in. */
const CLIPBOARD = /^52;[cpqs0-7]{0,8};[A-Za-z\d+/]*={0,2}$/

const LATIN1 = new TextDecoder("latin1")

/**
 * Whether an OSC, `bytes[from..to)`, may pass. Of those that never do, besides the ones above:
 * - 7 (folder that new tabs open in), 46, 55 (rxvt and Eterm wrote the screen to a file of that name, CVE-2003-0021
 *   and CVE-2003-0022), 50 (font; xterm put the name back as input, CVE-2022-45063), 51 (Emacs and Vim call functions).
 * - 633 (VS Code: command line to run again), 1337 (iTerm2: files to the user's disk, clipboard, badges, variables),
 *   5113 (kitty: file transfer), 5522 (clipboard by MIME type), 3008, 30001 and what comes next: a list of what is
 *   harmless holds tomorrow, a list of what is not does not.
 */
export function admitsOsc(
  bytes: Uint8Array,
  from: number,
  to: number,
  allow: ReadonlySet<TerminalPermission>,
): boolean {
  const begin = from + 2
  const end = bytes[to - 1] === 0x07 ? to - 1 : to - 2
  if (!isPlainText(bytes, begin, end)) return false
  if (end - begin > SHORT_STRING_MAX_BYTES) {
    return allow.has("clipboard") && CLIPBOARD.test(LATIN1.decode(bytes.subarray(begin, end)))
  }
  const text = LATIN1.decode(bytes.subarray(begin, end))
  if (HARMLESS.some((pattern) => pattern.test(text))) return true
  if (allow.has("clipboard") && CLIPBOARD.test(text)) return true
  if (text.length > LABEL_MAX_BYTES) return false
  if (allow.has("title") && TITLE.test(text)) return true
  return allow.has("notify") && (NOTIFICATION.test(text) || KITTY_NOTIFICATION.test(text))
}

/**
 * Settings that may be asked for by DECRQSS. Anything else is echoed by some: xterm typed it back with the line ends
 * in it (CVE-2008-2383), iTerm2 too (CVE-2022-45872).
 */
const SETTING = /^\$q(?:[mrst]| q|"[pq])$/
/** Names of capabilities in hexadecimal: the answer repeats them, and they stay hexadecimal. */
const CAPABILITIES = /^\+q[\da-f]{2,64}(?:;[\da-f]{2,64}){0,15}$/i

/**
 * Whether a DCS may pass: two questions, nothing else. Not user-defined keys (`|`: the user's next F-key types what an
 * agent wrote), soft fonts (`{`), sixel (`q`, a buffer overflow in xterm, CVE-2022-24130), ReGIS (`p`, CVE-2023-40359),
 * tmux' control mode (`1000p`, iTerm2 ran commands on it, CVE-2019-9535), passthrough (`tmux;`, screen's empty one),
 * kitty's remote control (`@kitty-cmd`), restored settings (`$t`), capabilities that are set (`+p`).
 */
export function admitsDcs(bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from > SHORT_STRING_MAX_BYTES) return false
  const text = LATIN1.decode(bytes.subarray(from + 2, to - 2))
  return SETTING.test(text) || CAPABILITIES.test(text)
}
