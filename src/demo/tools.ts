/**
 * The commands that the agent of the demo tries, written with what its sandbox has: curl, bash and getent as everybody
 * knows them, else small functions on the runtime that every sandbox of ours has. So a bare system shows the same.
 */
import { PROGRAM_INSIDE } from "../backend/bubblewrap/options.ts"

/** How something is tried. */
export interface Tools {
  /** Shell functions that the commands below may call, never shown; empty where programs do it all */
  prelude: string
  /** An HTTPS request, with the token of the environment or without any */
  fetch(url: string, auth: boolean): string
  /** A TCP connection; what comes is written out */
  tcp(host: string, port: number): string
  /** One datagram */
  udp(host: string, port: number): string
  /** The addresses of a name */
  lookup(name: string): string
}

/** Tells which programs there are, one a line. */
export const FIND_TOOLS =
  "for name in curl bash getent; do command -v $name >/dev/null && echo $name; done; :"

/** Bun names every failed connection ECONNREFUSED, so a datagram to the same place tells why there is no way. */
const SCRIPT = `
const [what, to, more] = process.argv.slice(1)
const say = (text, code) => { console.log(text); process.exit(code) }
const send = () => {
  const socket = require("node:dgram").createSocket("udp4")
  socket.send("?", Number(more), to, (error) => error ? say("no way there: " + error.code, 1) : say("sent", 0))
}
if (what === "fetch") {
  const headers = more ? { authorization: "Bearer " + process.env.TOKEN } : {}
  fetch(to, { headers }).then(async (answer) => say((await answer.text()).trim(), 0), (error) => say(error.message, 1))
} else if (what === "tcp") {
  const socket = require("node:net").connect(Number(more), to)
  socket.on("data", (bytes) => say(bytes.toString().trim(), 0))
  socket.on("connect", () => setTimeout(() => say("connected", 0), 500))
  socket.on("error", () => to.startsWith("127.") ? say("connection refused", 1) : send())
} else if (what === "udp") send()
else require("node:dns").lookup(to, (error, address) => error ? say("", 2) : say(address, 0))
`

/** The tools for a sandbox that has those programs. */
export function toolsOf(programs: ReadonlySet<string>): Tools {
  const bash = programs.has("bash")
  const missing = [
    ...(programs.has("curl") ? [] : ["fetch"]),
    ...(bash ? [] : ["tcp", "udp"]),
    ...(programs.has("getent") ? [] : ["lookup"]),
  ]
  return {
    prelude: missing.map(functionOf).join(""),
    fetch: (url, auth) =>
      programs.has("curl")
        ? `curl -s ${auth ? '-H "Authorization: Bearer $TOKEN" ' : ""}${url}`
        : `fetch ${url}${auth ? " with-token" : ""}`,
    tcp: (host, port) => (bash ? `bash -c 'cat </dev/tcp/${host}/${port}'` : `tcp ${host} ${port}`),
    udp: (host, port) => (bash ? `bash -c 'echo >/dev/udp/${host}/${port}'` : `udp ${host} ${port}`),
    lookup: (name) => (programs.has("getent") ? `getent hosts ${name}` : `lookup ${name}`),
  }
}

/** BUN_BE_BUN makes a Bun of a compiled binary, and means nothing to Bun itself. */
function functionOf(name: string): string {
  return `${name}() { BUN_BE_BUN=1 ${PROGRAM_INSIDE} --config=/dev/null --no-install -e '${SCRIPT}' ${name} "$@"; }\n`
}
