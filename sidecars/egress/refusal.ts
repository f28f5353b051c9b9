/** How a refusal looks on the wire: readable for models, for people with curl, and for git. */
import { BLOCK_HEADER, type Denial, denialBody, denialLine } from "../../src/policy/denial.ts"
import type { RequestHead } from "./http1/head.ts"
import { fieldValue } from "./http1/head.ts"

const REASON_OF: Record<number, string> = {
  400: "Bad Request",
  403: "Forbidden",
  413: "Content Too Large",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
}

/**
 * The whole answer as text with one character per byte. The denial stands in the reason phrase too: git, npm and
 * others print only the status line.
 */
export function refusalAnswer(
  status: number,
  denial: Denial,
  head: RequestHead | undefined,
  close: boolean,
): string {
  const git = head !== undefined && isGit(head)
  const body = Buffer.from(git ? `${denialLine(denial)}\n` : denialBody(denial)).toString("latin1")
  const reason = ascii(denialLine(denial)) || REASON_OF[status]
  const lines = [
    `HTTP/1.1 ${status} ${reason}`,
    `Content-Type: ${git ? "text/plain; charset=utf-8" : "application/json"}`,
    `Content-Length: ${body.length}`,
    `${BLOCK_HEADER}: ${denial.by}/${denial.rule}`,
    "Cache-Control: no-store",
  ]
  if (close) lines.push("Connection: close")
  return `${lines.join("\r\n")}\r\n\r\n${head?.method === "HEAD" ? "" : body}`
}

/** git prints a text/plain body as `remote:` lines, and nothing of any other type. */
function isGit(head: RequestHead): boolean {
  if (fieldValue(head.fields, "user-agent")?.startsWith("git/") === true) return true
  return /\/(info\/refs\?service=git-|git-(upload|receive)-pack$)/.test(head.target)
}

function ascii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?")
}
