/** What is written where: data on stdout, words for people on stderr, colour only where someone can see it. */
import { styleText } from "node:util"

export type Channel = "stdout" | "stderr"

const STYLES = {
  strong: "bold",
  dim: "dim",
  good: "green",
  warn: "yellow",
  bad: "red",
  name: "cyan",
} as const

/** One function per meaning; without a terminal or with NO_COLOR each hands back its text. */
export type Paint = Record<keyof typeof STYLES, (text: string) => string>

/** The colours of a channel. */
export function paint(channel: Channel): Paint {
  const stream = process[channel]
  const style = (name: keyof typeof STYLES) => (text: string) => styleText(STYLES[name], text, { stream })
  return {
    strong: style("strong"),
    dim: style("dim"),
    good: style("good"),
    warn: style("warn"),
    bad: style("bad"),
    name: style("name"),
  }
}

/** Writes data for whoever reads stdout. */
export function print(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`)
}

/** Writes a line to the person at the terminal. */
export function tell(text: string): void {
  process.stderr.write(text.endsWith("\n") ? text : `${text}\n`)
}

/** True when a person sees the channel, not a pipe or a file. */
export function isTerminal(channel: Channel): boolean {
  return process[channel].isTTY === true
}

/** Columns of the channel's terminal; 80 where there is none. */
export function columns(channel: Channel): number {
  return process[channel].columns || 80
}

const ESCAPES = /\u001b\[[0-9;]*m/g

/** Columns that a text takes on a terminal, its colours not counted. */
export function widthOf(text: string): number {
  return Bun.stringWidth(text.replace(ESCAPES, ""))
}

/** Pads a text, coloured or not, to a number of columns. */
export function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - widthOf(text)))
}

/** From here on a terminal may be gone: what is written to it then is lost (EIO), which ends nothing. */
export function allowLostTerminal(): void {
  allowLost(["EIO"])
}

/** As `allowLostTerminal`, and a pipe may be closed by whoever has read enough of it (EPIPE). */
export function allowLostReader(): void {
  allowLost(["EIO", "EPIPE"])
}

function allowLost(codes: string[]): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (!codes.includes(error.code ?? "")) throw error
    })
  }
}
