/** Names to addresses through the system's resolver, so that /etc/hosts counts; bounded in time, cached briefly. */
import { lookup } from "node:dns"
import { isIP } from "node:net"
import { LOOKUP_CACHE_MAX, LOOKUP_MS, LOOKUP_TTL_MS } from "./limits.ts"

interface Answer {
  addresses: string[]
  /** Time until which it is used, in ms of `performance.now()` */
  until: number
}

const cache = new Map<string, Answer>()
const asking = new Map<string, Promise<string[]>>()

/**
 * All addresses of a canonical host name, in the resolver's order; an IP literal is its own. Empty when there are
 * none or the resolver did not answer in time.
 */
export function resolve(host: string): string[] | Promise<string[]> {
  if (isIP(host) !== 0) return [host]
  const known = cache.get(host)
  if (known !== undefined && known.until > performance.now()) return known.addresses
  let answer = asking.get(host)
  if (answer === undefined) {
    answer = ask(host).finally(() => asking.delete(host))
    asking.set(host, answer)
  }
  return answer
}

function ask(host: string): Promise<string[]> {
  return new Promise((done) => {
    const timer = setTimeout(() => done([]), LOOKUP_MS)
    lookup(host, { all: true, order: "verbatim" }, (error, found) => {
      clearTimeout(timer)
      if (error !== null && error !== undefined) return done([])
      const addresses = [...new Set(found.map((entry) => entry.address))]
      cache.delete(host)
      if (cache.size >= LOOKUP_CACHE_MAX) cache.delete(cache.keys().next().value!)
      cache.set(host, { addresses, until: performance.now() + LOOKUP_TTL_MS })
      done(addresses)
    })
  })
}
