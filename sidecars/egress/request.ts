/** Which host a request is for. Tunnel, SNI, `Host` and target must all name the same one. */
import { splitAuthority } from "../../src/policy/host.ts"
import type { CheckedHead } from "./http1/check.ts"
import { HttpFault } from "./http1/fault.ts"
import type { RequestHead } from "./http1/head.ts"

/** A TLS tunnel whose handshake is done. */
export interface Tunnel {
  /** Canonical host of the CONNECT target, which the SNI was checked against */
  host: string
  port: number
}

export interface Destination {
  scheme: "https" | "http"
  /** Canonical host name or IP literal */
  host: string
  port: number
  /** Origin-form of the target, or `*` */
  target: string
}

/** A `Host` that names another host than the connection or the URL does. */
export class HostMismatch extends Error {
  override readonly name = "HostMismatch"
  readonly destination: Destination
  /** Host that the header names, as it was written */
  readonly header: string

  constructor(destination: Destination, header: string) {
    super("Host does not match")
    this.destination = destination
    this.header = header
  }
}

const DEFAULT_PORT = { http: 80, https: 443 } as const

/** Reads the destination of a request. Throws HttpFault and HostMismatch. */
export function destinationOf(
  head: RequestHead,
  checked: CheckedHead,
  tunnel: Tunnel | undefined,
): Destination {
  const destination = tunnel === undefined ? fromUrl(head.target) : fromTunnel(tunnel, head.target)
  if (checked.host !== undefined) {
    const host = splitAuthority(checked.host)
    if (host === undefined) throw new HttpFault("has a Host that is not a host name")
    const port = host.port ?? DEFAULT_PORT[destination.scheme]
    if (host.host !== destination.host || port !== destination.port) {
      throw new HostMismatch(destination, checked.host)
    }
  }
  return destination
}

function fromTunnel(tunnel: Tunnel, target: string): Destination {
  return { scheme: "https", host: tunnel.host, port: tunnel.port, target }
}

/** Absolute-form, RFC 9112 3.2.2. Not `new URL`: it mends what must be refused. */
function fromUrl(url: string): Destination {
  const match = /^http:\/\/([^/?]*)(.*)$/i.exec(url)
  if (match === null) throw new HttpFault("has a URL that is not http://; https needs a CONNECT tunnel")
  const authority = splitAuthority(match[1]!)
  if (authority === undefined) throw new HttpFault("has a URL whose host is not a host name")
  const rest = match[2]!
  return {
    scheme: "http",
    host: authority.host,
    port: authority.port ?? DEFAULT_PORT.http,
    target: rest.startsWith("/") ? rest : `/${rest}`,
  }
}
