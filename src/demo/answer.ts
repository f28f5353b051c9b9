/** What a command of the demo's answered: read as a person would, and made fit to be shown. */
import { type Denial, denial, showable } from "../policy/denial.ts"
import type { Seen } from "./stage.ts"

/** Longest line that is shown, in characters */
const LINE_MAX = 400
/** Lines of an answer that are shown */
const LINES_MAX = 6

/** What a person would have seen on the terminal. */
export function answerOf({ code, stdout, stderr }: Seen): string {
  if (code === undefined) return `${stdout}${stderr}\n(no end within its time)`
  return `${stdout}${stderr}`.trim() === "" ? `(no answer, exit status ${code})` : `${stdout}${stderr}`
}

/** False also for what did not end in time. */
export function failed({ code }: Seen): boolean {
  return code !== undefined && code !== 0
}

/** The lines of an answer, without what a terminal would act on. */
export function shown(text: string): string[] {
  const lines = text
    .trim()
    .split("\n")
    .map((line) => showable(line, LINE_MAX))
  return lines.length <= LINES_MAX
    ? lines
    : [...lines.slice(0, LINES_MAX - 1), `(and ${lines.length - LINES_MAX + 1} more)`]
}

/** Whether the service itself answered, under that name. */
export function isHello(result: Seen, host: string): boolean {
  return answerOf(result).includes(`{"hello":"${host}"`)
}

/** The gateway's refusal, if that is what came. */
export function denialIn({ stdout }: Seen): Denial | undefined {
  try {
    return denial.safeParse(JSON.parse(stdout)).data
  } catch {
    return undefined
  }
}
