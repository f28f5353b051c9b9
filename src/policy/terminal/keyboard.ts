/** kitty's keyboard protocol as a terminal keeps it: flags in force, and a stack of those before, for one screen. */

/** Entries a stack keeps: kitty has 8, and drops the oldest of more, so that no program can make it grow. */
const STACK_MAX = 8
/** All flags there are: five, one bit each. */
const FLAGS = 0b11111

export class KeyboardStack {
  /** Flags in force without a push */
  #base = 0
  /** Flags of each push, the last in force */
  #pushed: number[] = []

  push(flags: number): void {
    this.#pushed.push(flags & FLAGS)
    if (this.#pushed.length > STACK_MAX) this.#pushed.shift()
  }

  /** Removes `count` entries; a terminal whose stack gets empty switches all flags off. */
  pop(count: number): void {
    if (count >= this.#pushed.length) {
      this.#pushed = []
      this.#base = 0
    } else {
      this.#pushed.length -= count
    }
  }

  /** Changes the flags in force: 1 sets them to `flags`, 2 adds those, 3 takes those away. */
  change(flags: number, how: number): void {
    const now = this.#pushed.at(-1) ?? this.#base
    const then = how === 2 ? now | flags : how === 3 ? now & ~flags : flags
    if (this.#pushed.length > 0) this.#pushed[this.#pushed.length - 1] = then & FLAGS
    else this.#base = then & FLAGS
  }

  set(): string {
    const base = this.#base === 0 ? "" : `\u001b[=${this.#base}u`
    return base + this.#pushed.map((flags) => `\u001b[>${flags}u`).join("")
  }

  reset(): string {
    const pop = this.#pushed.length === 0 ? "" : `\u001b[<${this.#pushed.length}u`
    return pop + (this.#base === 0 ? "" : "\u001b[=0u")
  }
}
