/** What the environment says: the terminal, the way out through a proxy, authorities of a company, the time. */
import { X509Certificate } from "node:crypto"
import { met, unmet, worse } from "../../backend/need.ts"
import { asRoot } from "../../backend/packages.ts"
import type { Need } from "../../backend/types.ts"
import { BottleError, reasonOf } from "../../runtime/error.ts"
import type { Machine } from "../../runtime/machine.ts"
import { extraCaCerts, hostProxy } from "../../session/host-facts.ts"

/** No clock that is right has been before this. */
const WRITTEN = new Date("2026-01-01T00:00:00Z")
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

export function surroundingNeeds(machine: Machine, now: Date): Need[] {
  return [terminalNeed(machine), proxyNeed(machine), authoritiesNeed(machine, now), clockNeed(machine, now)]
}

/** Agents draw with what the terminal is said to understand. */
function terminalNeed({ env }: Machine): Need {
  const name = "TERM"
  const term = env.TERM ?? ""
  if (term === "" || term === "dumb") {
    const found = `${term === "" ? "not set" : term}: agents cannot draw their screen`
    return worse(name, found, "export TERM=xterm-256color")
  }
  const colours = /^(truecolor|24bit)$/.test(env.COLORTERM ?? "")
    ? "true colour"
    : term.includes("256color")
      ? "256 colours"
      : "few colours"
  return met(name, `${term}, ${env.NO_COLOR ? "no colour (NO_COLOR)" : colours}`)
}

function proxyNeed({ env }: Machine): Need {
  const name = "proxy"
  try {
    const found = hostProxy(env)
    if (found === undefined) return met(name, "none: gateways connect directly")
    const { proxy, variable } = found
    const words = `${proxy.host}:${proxy.port} (${variable})`
    if (!found.onLoopback) return met(name, words)
    const lacks = `${words}: gateways of bubblewrap reach it, those in containers do not`
    return worse(name, lacks, `export BOTTLE_UPSTREAM_PROXY=http://<this machine's address>:${proxy.port}`)
  } catch (error) {
    return unmet(name, reasonOf(error), "export BOTTLE_UPSTREAM_PROXY=none")
  }
}

function authoritiesNeed({ env }: Machine, now: Date): Need {
  const name = "extra CA"
  const mend = "unset BOTTLE_EXTRA_CA_CERTS"
  const file = env.BOTTLE_EXTRA_CA_CERTS
  if (!file) return met(name, "none (BOTTLE_EXTRA_CA_CERTS)")
  const ends: Date[] = []
  try {
    for (const [pem] of extraCaCerts(env).matchAll(CERTIFICATE))
      ends.push(new Date(new X509Certificate(pem).validTo))
  } catch (error) {
    const found = error instanceof BottleError ? reasonOf(error) : `one in ${file} does not parse`
    return unmet(name, found, mend)
  }
  if (ends.length === 0) return unmet(name, `${file} holds no whole certificate`, mend)
  const over = ends.filter((end) => end < now).length
  const found = `${ends.length} in ${file}`
  if (over > 0) return unmet(name, `${found}, ${over} of them expired: ask for the new ones`, mend)
  const first = new Date(Math.min(...ends.map(Number)))
  return met(name, `${found}, good until ${first.toISOString().slice(0, 10)}`)
}

/** TLS refuses every certificate when the clock is far off. */
function clockNeed(machine: Machine, now: Date): Need {
  const found = `${now.toISOString().slice(0, 16).replace("T", " ")} UTC`
  if (now >= WRITTEN) return met("clock", found)
  const set = machine.platform === "darwin" ? "sntp -sS time.apple.com" : "timedatectl set-ntp true"
  return unmet("clock", `${found} is long past: no certificate is valid then`, asRoot(machine, set))
}
