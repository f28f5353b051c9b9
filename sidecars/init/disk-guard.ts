/**
 * Ends a bottle before it has filled the host's disk. It looks every two seconds, so it is a guard and no quota: what
 * is written between two looks is written.
 */
import { type StatsFs, statfsSync, statSync } from "node:fs"
import { statfs } from "node:fs/promises"
import { reasonOf } from "../../src/runtime/error.ts"

/** Pause between two looks, in milliseconds */
const LOOK_EVERY_MS = 2000
const MIB = 2 ** 20

export interface DiskFloor {
  /** Least free space, in bytes */
  bytes: number
  /** Least free share of space and of files, between 0 and 1 */
  share: number
}

export interface DiskGuardEvents {
  /** The disk is nearly full, told once, with a reason for people */
  full(reason: string): void
}

/** What the host needs to go on: its own logs, and the room to clean up. */
export const DISK_FLOOR: DiskFloor = { bytes: 512 * MIB, share: 0.02 }

interface Disk {
  /** Folder on it, absolute */
  path: string
  /** Least free space, in bytes */
  bytes: number
  /** Least number of files that can still be made */
  files: number
}

export class DiskGuard implements Disposable {
  readonly #disks: Disk[] = []
  readonly #events: DiskGuardEvents
  readonly #timer: NodeJS.Timeout
  #looking = false
  #over = false

  /** Guards the file systems of the folders. Throws when one cannot be asked. */
  constructor(paths: readonly string[], floor: DiskFloor, events: DiskGuardEvents) {
    this.#events = events
    const seen = new Set<number>()
    for (const path of paths) {
      const { dev } = statSync(path)
      if (seen.has(dev)) continue
      seen.add(dev)
      const now = statfsSync(path)
      // A disk that is small or nearly full from the beginning is still one that can be worked on.
      this.#disks.push({
        path,
        bytes: Math.min(Math.max(floor.bytes, floor.share * now.blocks * now.bsize), freeBytes(now) / 2),
        files: Math.min(floor.share * now.files, now.ffree / 2),
      })
    }
    this.#timer = setInterval(() => void this.look(), LOOK_EVERY_MS)
    this.#timer.unref()
  }

  /** Looks now; the timer does so by itself. A disk that does not answer is waited for, not asked again. */
  async look(): Promise<void> {
    if (this.#looking || this.#over) return
    this.#looking = true
    try {
      for (const disk of this.#disks) {
        const reason = await statfs(disk.path).then(
          (now) => shortage(disk, now),
          (error) => `the free space of ${disk.path} cannot be read any more: ${reasonOf(error)}`,
        )
        if (reason !== undefined) {
          this.#tell(reason)
          return
        }
      }
    } finally {
      this.#looking = false
    }
  }

  #tell(reason: string): void {
    if (this.#over) return
    this[Symbol.dispose]()
    this.#events.full(reason)
  }

  [Symbol.dispose](): void {
    this.#over = true
    clearInterval(this.#timer)
  }
}

function shortage(disk: Disk, now: StatsFs): string | undefined {
  const free = freeBytes(now)
  if (free < disk.bytes) {
    return `the disk of ${disk.path} is nearly full: ${mib(free)} MiB are free, and an agent is ended below ${mib(disk.bytes)} MiB`
  }
  // File systems that make files as they need them (btrfs) count none.
  if (now.files > 0 && now.ffree < disk.files) {
    return `the disk of ${disk.path} can hold only ${now.ffree} more files, and an agent is ended below ${Math.ceil(disk.files)}`
  }
  return undefined
}

/** What a user other than root may still write. */
function freeBytes(now: StatsFs): number {
  return now.bavail * now.bsize
}

function mib(bytes: number): number {
  return Math.floor(bytes / MIB)
}
