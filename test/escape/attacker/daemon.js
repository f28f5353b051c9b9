// What a daemon that was taken over can do to the rest of its gateway. Runs in the gateway, on Bun. Each attack
// returns what it got, or throws.
import { dlopen } from "bun:ffi"
import { appendFileSync, closeSync, openSync, readdirSync, readFileSync, readSync, unlinkSync } from "node:fs"
import { createConnection, createServer } from "node:net"

const [name, text = "{}"] = process.argv.slice(2)
const arg = JSON.parse(text)

function pidOf(part) {
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    const argv = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")
    if (argv[0] === "/opt/bottle/bun" && argv.includes(part)) return Number(pid)
  }
  throw new Error(`no process of ${part}`)
}

const init = () => pidOf("init")

function firstBytes(path, position = 0) {
  const fd = openSync(path, "r")
  try {
    return readSync(fd, Buffer.alloc(64), 0, 64, position)
  } finally {
    closeSync(fd)
  }
}

function connected(path) {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path })
    socket.once("connect", () => resolve("connected"))
    socket.once("error", reject)
  })
}

const attacks = {
  status() {
    const lines = readFileSync(`/proc/${arg.of ? pidOf(arg.of) : "self"}/status`, "utf8").split("\n")
    const found = Object.fromEntries(lines.map((line) => line.split(/:\t/)))
    return Object.fromEntries(arg.fields.map((field) => [field, found[field]]))
  },
  environment: () =>
    readFileSync(`/proc/${pidOf(arg.of)}/environ`, "utf8")
      .split("\0")
      .filter(Boolean),
  environmentOfInit: () => readFileSync(`/proc/${init()}/environ`, "utf8").length,
  filesOfInit: () => readdirSync(`/proc/${init()}/fd`).length,
  rootOfInit: () => readdirSync(`/proc/${init()}/root`).length,
  memoryOfInit() {
    const first = readFileSync(`/proc/${init()}/maps`, "utf8")
      .split("\n")
      .find((line) => / r/.test(line))
    return firstBytes(`/proc/${init()}/mem`, Number.parseInt(first, 16))
  },
  traceInit() {
    const libc = dlopen("libc.so.6", {
      ptrace: { args: ["int", "int", "ptr", "ptr"], returns: "int" },
      __errno_location: { args: [], returns: "ptr" },
      waitpid: { args: ["int", "ptr", "int"], returns: "int" },
    }).symbols
    const [PTRACE_SEIZE, PTRACE_DETACH] = [0x4206, 17]
    // Seized, the process is not stopped; it is let go at the end of this one.
    if (libc.ptrace(PTRACE_SEIZE, init(), null, null) < 0) throw Object.assign(new Error(), { code: "EPERM" })
    libc.ptrace(PTRACE_DETACH, init(), null, null)
    return "traced"
  },
  signalInit() {
    process.kill(init(), 0)
    return "signalled"
  },
  readLedger: () => readdirSync("/var/lib/bottle/ledger"),
  forgeLedger() {
    // Opened for appending, and nothing appended: a control would break the chain.
    appendFileSync("/var/lib/bottle/ledger/ledger-000001.jsonl", "")
    return "opened"
  },
  connectControl: () => connected("/run/bottle/control/control.sock"),
  createIn() {
    const path = `${arg.folder}/created-by-the-daemon`
    appendFileSync(path, "")
    unlinkSync(path)
    return "created"
  },
  overwrite() {
    closeSync(openSync(arg.path, "r+"))
    return "opened"
  },
  listenAt: () =>
    new Promise((resolve, reject) => {
      const server = createServer()
      server.once("error", reject)
      server.listen(arg.path, () => server.close(() => resolve("listening")))
    }),
}

try {
  console.log(JSON.stringify({ got: await attacks[name]() }))
} catch (error) {
  console.log(JSON.stringify({ refused: error.code ?? String(error) }))
}
process.exit(0)
