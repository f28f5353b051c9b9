/**
 * Every refusal of egress, in one room: a model reads these and acts on them, so each says what was refused, why, what
 * would pass and whom to ask. Text that came from the bottle is cut and cleaned here.
 */
import type { AddressKind } from "./address.ts"
import { type Denial, showable } from "./denial.ts"

/** What the refusals are about. */
export interface Subject {
  /** Identity of the bottle, empty before a policy is loaded */
  identity: string
  /** Request or connection that was refused, without query and credentials: `GET https://api.example.com/v1` */
  what: string
}

/** Longest piece of hostile text that a refusal repeats, in characters */
const PIECE_MAX = 120

/** The sentence that says who can change the policy. */
export function askFor(identity: string): string {
  const name = identity === "" ? "<identity>" : identity
  return `Ask the person who runs this bottle to run: bottle routes edit ${name}`
}

/** Where a client can read the rules itself. */
const RULES = "see http://bottle.internal/policy"

function deny(rule: string, subject: Subject, why: string, more: Partial<Denial> = {}): Denial {
  return {
    by: "egress",
    rule,
    what: showable(subject.what, PIECE_MAX),
    why,
    allowed: "",
    ask: askFor(subject.identity),
    retryable: false,
    ...more,
  }
}

/** The request as refusals and logs name it. */
export function describeRequest(method: string, scheme: string, authority: string, path: string): string {
  return `${showable(method, 16)} ${scheme}://${showable(authority, 80)}${showable(path, 80)}`
}

/** `hosts`: what the policy names, as text. */
export function hostNotAllowed(subject: Subject, host: string, hosts: string): Denial {
  const allowed = hosts === "" ? "" : `hosts ${hosts}; ${RULES}`
  return deny("host-not-allowed", subject, `no route names the host ${showable(host, 80)}`, { allowed })
}

export function portNotAllowed(subject: Subject, port: number, scheme: "https" | "http"): Denial {
  const right = scheme === "https" ? 443 : 80
  return deny("port-not-allowed", subject, `${scheme} goes to port ${right} only, not ${port}`, {
    allowed: `the same host on port ${right}`,
    ask: "Use the standard port; other ports cannot be opened",
  })
}

export function schemeNotAllowed(subject: Subject, host: string): Denial {
  return deny("scheme-not-allowed", subject, "the route of this host does not allow http in the clear", {
    allowed: `https://${showable(host, 80)}`,
  })
}

export function methodNotAllowed(subject: Subject, method: string, methods: string): Denial {
  return deny("method-not-allowed", subject, `the route does not allow the method ${showable(method, 32)}`, {
    allowed: `methods ${methods}`,
  })
}

export function pathNotAllowed(subject: Subject, paths: string): Denial {
  return deny("path-not-allowed", subject, "no path rule of the route covers this path", {
    allowed: `paths ${paths}`,
  })
}

export function pathNotCanonical(subject: Subject): Denial {
  return deny("path-not-canonical", subject, "the request target has more than one reading", {
    allowed: "a path starting with / in ASCII, escapes of valid UTF-8, no control characters, \\ or ..;",
    ask: "Send the plain form of the path",
  })
}

/** For routes with path rules, which compare segments. */
export function pathAmbiguous(subject: Subject, paths: string): Denial {
  return deny(
    "path-not-canonical",
    subject,
    "the path holds %2f or an escape of an escape, which servers read differently",
    {
      allowed: `paths ${paths}, without %2f and %25xx`,
    },
  )
}

export function gitPush(subject: Subject): Denial {
  return deny("git-push", subject, "git pushes over HTTPS are refused on every route", {
    allowed: "a push to the git remote that the bottle configures, where it is scanned first",
    ask: "Push through the git remote: git push origin <branch>. If there is none, ask for one under git.repos",
  })
}

/** `kind`: what the address is. The address itself is told to nobody: it would map the network. */
export function privateAddress(subject: Subject, host: string, kind: AddressKind | "host"): Denial {
  const what = kind === "host" ? "the machine that runs the bottle" : `a ${kind} address`
  return deny(
    "private-address",
    subject,
    `${showable(host, 80)} resolves to ${what}, which the route does not open`,
    {
      ask: `${askFor(subject.identity)} (a private range goes under the route's private list)`,
    },
  )
}

export function nameNotResolved(subject: Subject, host: string, reason: string): Denial {
  const why = `${showable(host, 80)} could not be resolved (${showable(reason, 60)})`
  return deny("name-not-resolved", subject, why, { ask: "Check the name, or try again", retryable: true })
}

export function upstreamUnreachable(subject: Subject, host: string, reason: string): Denial {
  const why = `no connection to ${showable(host, 80)} (${showable(reason, 80)})`
  return deny("upstream-unreachable", subject, why, { ask: "Try again later", retryable: true })
}

export function upstreamCertificate(subject: Subject, host: string, reason: string): Denial {
  const why = `the certificate of ${showable(host, 80)} did not verify (${showable(reason, 80)})`
  return deny("upstream-certificate", subject, why, {
    ask: "Ask the person who runs this bottle; private authorities go into BOTTLE_EXTRA_CA_CERTS",
  })
}

export function badRequest(subject: Subject, reason: string): Denial {
  return deny("bad-request", subject, showable(reason, PIECE_MAX), {
    ask: "Send a well-formed HTTP/1.1 request",
  })
}

export function hostMismatch(subject: Subject, tunnel: string, host: string): Denial {
  const why = `the tunnel leads to ${showable(tunnel, 60)}, the Host header names ${showable(host, 60)}`
  return deny("host-mismatch", subject, why, {
    allowed: "a Host header equal to the CONNECT target",
    ask: "Open a tunnel of its own for each host",
  })
}

export function sniMismatch(subject: Subject, tunnel: string, sni: string): Denial {
  const named =
    sni === "" ? "the TLS handshake names no server" : `the TLS handshake names ${showable(sni, 60)}`
  return deny("sni-mismatch", subject, `the tunnel leads to ${showable(tunnel, 60)}, ${named}`, {
    allowed: "a server name equal to the CONNECT target",
    ask: "Open a tunnel of its own for each host",
  })
}

/** `hosts`: where the placeholder belongs, as text. */
export function placeholderMisused(subject: Subject, hosts: string): Denial {
  return deny(
    "placeholder-misused",
    subject,
    "a credential placeholder was sent to a host it does not belong to",
    {
      allowed: hosts === "" ? "" : `the placeholder towards ${showable(hosts, 120)}`,
    },
  )
}

export function credentialMissing(subject: Subject, host: string): Denial {
  return deny("credential-missing", subject, `the gateway holds no credential for ${showable(host, 80)}`, {
    ask: "Ask the person who runs this bottle to set the credential and start or resume the bottle again",
  })
}

/** `reload`: command that loads the gateway again, as init tells it. */
export function notLoaded(
  subject: Subject,
  reload = `bottle reload ${subject.identity || "<identity>"}`,
): Denial {
  return deny(
    "not-loaded",
    subject,
    "the gateway holds no policy, as after a restart, and refuses everything",
    {
      ask: `Ask the person who runs this bottle to run: ${reload}`,
      retryable: true,
    },
  )
}

export function tooBusy(subject: Subject, limit: string): Denial {
  const why = `the gateway serves ${showable(limit, 80)} at most`
  return deny("too-busy", subject, why, { ask: "Close connections, then try again", retryable: true })
}

export function upgradeNotAllowed(subject: Subject, protocol: string): Denial {
  return deny("upgrade-not-allowed", subject, `an upgrade to ${showable(protocol, 40)} cannot be inspected`, {
    allowed: "HTTP/1.1, and websocket by GET",
    ask: "Use HTTP/1.1",
  })
}

export function responseUndecodable(subject: Subject, encoding: string): Denial {
  const why = `the answer came as ${showable(encoding, 40)} although identity was asked for, so it cannot be scrubbed`
  return deny("response-undecodable", subject, why, { ask: "Ask the person who runs this bottle" })
}

export function upstreamProtocol(subject: Subject, reason: string): Denial {
  const why = `the upstream's answer is not valid HTTP/1.1 (${showable(reason, 80)})`
  return deny("upstream-protocol", subject, why, { ask: "Try again later", retryable: true })
}
