/** One connection to an upstream: the address that was checked is the address that is dialled. */
import { connect, isIP, type Socket } from "node:net"
import { connect as connectTls, type SecureContext, type TLSSocket } from "node:tls"
import { CONNECT_MS, HANDSHAKE_MS } from "./limits.ts"

/** Why no connection came about. `certificate` faults are never retried on another address. */
export class DialFault extends Error {
  override readonly name = "DialFault"
  readonly kind: "connect" | "certificate" | "tls"

  constructor(kind: DialFault["kind"], message: string) {
    super(message)
    this.kind = kind
  }
}

/** Opens TCP to an IP literal. Throws DialFault. */
export function openTcp(address: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    // An IP literal: node must not look up anything again, which is what DNS rebinding waits for.
    if (isIP(address) === 0) {
      reject(new DialFault("connect", `${address} is not an address`))
      return
    }
    const socket = connect({ host: address, port, noDelay: true })
    const timer = setTimeout(() => fail(`no answer within ${CONNECT_MS / 1000} s`), CONNECT_MS)
    const fail = (message: string) => {
      clearTimeout(timer)
      socket.destroy()
      reject(new DialFault("connect", message))
    }
    const onError = (error: Error) => fail(error.message)
    socket.once("error", onError)
    socket.once("connect", () => {
      clearTimeout(timer)
      socket.off("error", onError)
      resolve(socket)
    })
  })
}

/** Lays TLS on a connection and verifies the certificate for `host`. Throws DialFault. */
export function openTls(socket: Socket, host: string, trust: SecureContext): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const literal = isIP(host) !== 0
    const tls = connectTls({
      socket,
      secureContext: trust,
      minVersion: "TLSv1.2",
      rejectUnauthorized: true,
      // One protocol is spoken on every side; an upstream that picks h2 would not be understood.
      ALPNProtocols: ["http/1.1"],
      // RFC 6066 3 allows no IP literals as server name; the certificate is then checked for `host`.
      ...(literal ? { host } : { servername: host }),
    })
    const timer = setTimeout(
      () => fail("tls", `no TLS handshake within ${HANDSHAKE_MS / 1000} s`),
      HANDSHAKE_MS,
    )
    const fail = (kind: DialFault["kind"], message: string) => {
      clearTimeout(timer)
      tls.destroy()
      socket.destroy()
      reject(new DialFault(kind, message))
    }
    const onError = (error: Error & { code?: string }) => {
      fail(isCertificateFault(error.code) ? "certificate" : "tls", error.message)
    }
    const onClose = () => fail("tls", "the connection was closed during the TLS handshake")
    tls.once("error", onError)
    tls.once("close", onClose)
    tls.once("secureConnect", () => {
      tls.off("error", onError)
      tls.off("close", onClose)
      // Belt and braces: a runtime that ever stops rejecting must not make us send a credential.
      if (!tls.authorized) return fail("certificate", "the certificate was not verified")
      clearTimeout(timer)
      resolve(tls)
    })
  })
}

/** Codes of X.509 verification (OpenSSL's X509_V_ERR names), and node's own for the name check. */
function isCertificateFault(code: string | undefined): boolean {
  return (
    code !== undefined &&
    /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERROR_IN_CERT|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_|CRL_|HOSTNAME_|ERR_TLS_CERT_)/.test(
      code,
    )
  )
}
