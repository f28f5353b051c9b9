/**
 * What inner tries before the agent exists. The attempts outwards must fail in the kernel, at once, for want of any
 * way; one that is merely unanswered counts as a hole. The gateway must answer.
 */
import { createSocket } from "node:dgram"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { connect as connectTcp } from "node:net"
import { connect as connectTls } from "node:tls"
import { CA_CERT, EGRESS_PORT, INTERNAL_HOST } from "../../src/policy/paths.ts"
import type { Probe, ProbeResult } from "../../src/policy/wire/lifeline.ts"
import { reasonOf } from "../../src/runtime/error.ts"
import { judgeInterfaces, judgeStatus, UP } from "./confinement.ts"

/** A refusal by the kernel takes microseconds; whatever takes longer has left the sandbox. In milliseconds. */
const REFUSED_WITHIN_MS = 1000
/** The gateway answers within this, in milliseconds. */
const GATEWAY_WITHIN_MS = 10_000
/** The system's trust store, where most clients look by themselves. */
const SYSTEM_STORE = "/etc/ssl/certs/ca-certificates.crt"

/** Errors by which the kernel says that there is no way out. */
const NO_WAY = new Set([
  "ENETUNREACH",
  "EHOSTUNREACH",
  "EADDRNOTAVAIL",
  "ENETDOWN",
  "EAFNOSUPPORT",
  "EPERM",
  "EACCES",
])

export function tryWall(probes: Probe[]): Promise<ProbeResult[]> {
  return Promise.all(probes.map(tryOne))
}

async function tryOne(probe: Probe): Promise<ProbeResult> {
  try {
    switch (probe.kind) {
      case "no-interfaces":
        return noInterfaces()
      case "confined":
        return judgeStatus(readFileSync("/proc/self/status", "utf8"))
      case "tcp-refused":
        return await tcpRefused(probe.host, probe.port)
      case "udp-refused":
        return refusal(`udp ${probe.host}:${probe.port}`, await udpError(probe.host, probe.port))
      case "gateway":
        return await gatewayAnswers(probe.generation)
      case "file":
        return fileArrived(probe.path, probe.size)
    }
  } catch (error) {
    return { name: probe.kind, ok: false, detail: reasonOf(error).slice(0, 512) }
  }
}

function noInterfaces(): ProbeResult {
  const routes = readFileSync("/proc/net/route", "utf8").trim().split("\n").length - 1
  // Where there is no /sys every interface counts, whether it is up or not.
  const links = existsSync("/sys/class/net")
    ? readdirSync("/sys/class/net").map((name) => ({
        name,
        flags: Number(readFileSync(`/sys/class/net/${name}/flags`, "utf8")),
      }))
    : namesIn(readFileSync("/proc/net/dev", "utf8")).map((name) => ({ name, flags: UP }))
  return judgeInterfaces(links, routes)
}

/** Two lines of heading, then one for each interface: `  lo: 0 0 ...` (proc(5)). */
function namesIn(table: string): string[] {
  return table
    .trimEnd()
    .split("\n")
    .slice(2)
    .map((line) => line.slice(0, line.indexOf(":")).trim())
}

function refusal(name: string, code: string | undefined): ProbeResult {
  const ok = code !== undefined && NO_WAY.has(code)
  return {
    name,
    ok,
    detail: ok ? `refused by the kernel (${code})` : `not refused by the kernel: ${code ?? "it was sent"}`,
  }
}

/**
 * Bun gives ECONNREFUSED for every connection that failed, also for one that a host outside has refused. So the
 * connection must fail, and the kernel must say of a datagram to the same address that there is no way to it.
 */
async function tcpRefused(host: string, port: number): Promise<ProbeResult> {
  const name = `tcp ${host}:${port}`
  if (await tcpConnects(host, port)) return { name, ok: false, detail: "it connected" }
  return refusal(name, await udpError(host, port))
}

/** True also for a connection that is neither made nor refused in time: its packets have left. */
function tcpConnects(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host, port, timeout: REFUSED_WITHIN_MS })
    const settle = (connected: boolean) => {
      socket.destroy()
      resolve(connected)
    }
    socket.once("connect", () => settle(true))
    socket.once("timeout", () => settle(true))
    socket.once("error", () => settle(false))
  })
}

function udpError(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4")
    const settle = (code: string | undefined) => {
      clearTimeout(timer)
      socket.close()
      resolve(code)
    }
    const timer = setTimeout(() => settle(undefined), REFUSED_WITHIN_MS)
    socket.once("error", (error: NodeJS.ErrnoException) => settle(error.code ?? error.message))
    socket.send("bottle", port, host, (error) => {
      settle(error === null ? undefined : ((error as NodeJS.ErrnoException).code ?? error.message))
    })
  })
}

/** Over TLS that the system's own trust store verifies, the gateway tells the generation that is live. */
async function gatewayAnswers(generation: number): Promise<ProbeResult> {
  const live = JSON.parse(await policyOverTls()) as { generation?: number }
  const ok = live.generation === generation
  const detail = ok
    ? `answers with generation ${generation}, its certificate is trusted`
    : `generation ${live.generation} is live, not ${generation}`
  return { name: "gateway", ok, detail }
}

/**
 * The bottle's authority, when the system's store holds it. Parsing the whole store, 150 certificates, would take more
 * time than all other probes together, and show the same: the store has it, and the gateway's certificate is its.
 */
function ownAuthority(): string {
  const authority = readFileSync(CA_CERT, "utf8")
  if (readFileSync(SYSTEM_STORE, "utf8").includes(authority.trim())) return authority
  throw new Error("the system's trust store does not hold the bottle's authority")
}

/** The body of `https://bottle.internal/policy`, through a tunnel as every client opens it. */
function policyOverTls(): Promise<string> {
  return new Promise((resolve, reject) => {
    const tunnel = connectTcp({ host: "127.0.0.1", port: EGRESS_PORT })
    tunnel.setTimeout(GATEWAY_WITHIN_MS, () => tunnel.destroy(new Error("the gateway does not answer")))
    tunnel.once("error", reject)
    // The relay of a gateway that is not there closes without an error, and a closed socket has no timeout.
    const unanswered = () => reject(new Error("the gateway closed the tunnel without an answer"))
    tunnel.once("close", unanswered)
    tunnel.once("connect", () => {
      tunnel.write(`CONNECT ${INTERNAL_HOST}:443 HTTP/1.1\r\nHost: ${INTERNAL_HOST}:443\r\n\r\n`)
    })
    tunnel.once("data", (answer: Buffer) => {
      tunnel.off("close", unanswered)
      const status = answer.toString("latin1").split("\r\n")[0] ?? ""
      if (!status.startsWith("HTTP/1.1 200")) {
        tunnel.destroy()
        reject(new Error(`the tunnel was refused: ${status}`))
        return
      }
      const secure = connectTls({ socket: tunnel, servername: INTERNAL_HOST, ca: ownAuthority() })
      const parts: Buffer[] = []
      secure.once("error", (error) =>
        reject(new Error(`the system's trust store does not verify: ${error.message}`)),
      )
      secure.once("secureConnect", () => {
        secure.write(`GET /policy HTTP/1.1\r\nHost: ${INTERNAL_HOST}\r\nConnection: close\r\n\r\n`)
      })
      secure.on("data", (part: Buffer) => parts.push(part))
      secure.once("close", () => {
        const [head = "", ...body] = Buffer.concat(parts).toString().split("\r\n\r\n")
        if (head.startsWith("HTTP/1.1 200")) resolve(body.join("\r\n\r\n"))
        else unanswered()
      })
    })
  })
}

function fileArrived(path: string, size: number): ProbeResult {
  const found = statSync(path, { throwIfNoEntry: false })
  const ok = found?.size === size
  return {
    name: `file ${path}`,
    ok,
    detail: ok ? `${size} bytes` : `${found?.size ?? "no"} bytes, not ${size}`,
  }
}
