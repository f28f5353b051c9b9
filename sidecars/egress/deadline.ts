/** Time limits of connections: one sweep for all of them, so that a request costs no timer. */
import { SWEEP_MS } from "./limits.ts"

export interface Expiring {
  /** Time after which `expire` is called, in ms of `performance.now()`; Infinity for never */
  deadline: number
  expire(): void
}

const watched = new Set<Expiring>()
let timer: NodeJS.Timeout | undefined

export function watch(item: Expiring): void {
  watched.add(item)
  timer ??= setInterval(sweep, SWEEP_MS)
}

export function unwatch(item: Expiring): void {
  watched.delete(item)
  if (watched.size > 0) return
  clearInterval(timer)
  timer = undefined
}

function sweep(): void {
  const now = performance.now()
  for (const item of watched) if (item.deadline <= now) item.expire()
}
