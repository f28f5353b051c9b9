/**
 * An assembler for classic BPF, as much of it as a seccomp filter needs. It knows only those instructions that the
 * kernel's seccomp_is_const_allow() follows (Linux 5.11): with them, a call whose number alone decides is allowed from
 * a bitmap and the filter is not run at all.
 */

/** Place in a program that jumps lead to */
export interface Label {
  /** What is found there, for messages */
  name: string
}

type Comparison = "equal" | "greaterOrEqual" | "anyBitOf"

interface Instruction {
  code: number
  /** Operand, unsigned 32 bits */
  k: number
  /** Where a comparison that holds leads; absent is the next instruction */
  yes?: Label | undefined
  /** Where a comparison that does not hold leads; absent is the next instruction */
  no?: Label | undefined
  /** Where an unconditional jump leads */
  to?: Label | undefined
}

// linux/bpf_common.h: BPF_LD|BPF_W|BPF_ABS and so on
const LOAD_WORD = 0x20
const AND = 0x54
const JUMP = 0x05
const RETURN = 0x06
const COMPARISONS: Readonly<Record<Comparison, number>> = {
  equal: 0x15,
  greaterOrEqual: 0x35,
  anyBitOf: 0x45,
}
/** BPF_MAXINSNS: instructions that the kernel takes in one filter */
const MAX_INSTRUCTIONS = 4096
/** Size of struct seccomp_data, in bytes */
const DATA_BYTES = 64
/** Size of struct sock_filter, in bytes */
const INSTRUCTION_BYTES = 8
/** Reach of a conditional jump: its offsets are single bytes */
const MAX_OFFSET = 255

export function label(name: string): Label {
  return { name }
}

export class Program {
  readonly #instructions: Instruction[] = []
  readonly #places = new Map<Label, number>()

  /** Loads one 32-bit word of struct seccomp_data into the accumulator. */
  load(offset: number): void {
    // seccomp_check_filter() refuses a load that is not aligned or leaves the structure.
    if (offset % 4 !== 0 || offset < 0 || offset >= DATA_BYTES) throw new Error(`No word at offset ${offset}`)
    this.#add({ code: LOAD_WORD, k: offset })
  }

  /** Keeps the bits of the accumulator that the mask has. */
  and(mask: number): void {
    this.#add({ code: AND, k: mask })
  }

  /** Compares the accumulator, without a sign, and jumps. */
  branch(comparison: Comparison, k: number, where: { yes?: Label; no?: Label }): void {
    this.#add({ code: COMPARISONS[comparison], k, yes: where.yes, no: where.no })
  }

  jump(to: Label): void {
    this.#add({ code: JUMP, k: 0, to })
  }

  /** Ends the program with a SECCOMP_RET_* value. */
  return(value: number): void {
    this.#add({ code: RETURN, k: value })
  }

  /** Puts a label before the next instruction. */
  place(at: Label): void {
    if (this.#places.has(at)) throw new Error(`The label "${at.name}" stands in two places`)
    this.#places.set(at, this.#instructions.length)
  }

  /**
   * An array of struct sock_filter, little endian as all machines are that we run on. Throws when the kernel would
   * refuse the program, whose own message (EINVAL) names no cause.
   */
  assemble(): Uint8Array {
    const count = this.#instructions.length
    if (count > MAX_INSTRUCTIONS)
      throw new Error(`${count} instructions, and the kernel takes ${MAX_INSTRUCTIONS}`)
    const last = this.#instructions.at(-1)
    if (last?.code !== RETURN && last?.code !== JUMP) throw new Error("The program runs off its end")
    const bytes = new Uint8Array(count * INSTRUCTION_BYTES)
    const view = new DataView(bytes.buffer)
    this.#instructions.forEach((one, index) => {
      const at = index * INSTRUCTION_BYTES
      view.setUint16(at, one.code, true)
      view.setUint8(at + 2, this.#offset(index, one.yes, MAX_OFFSET))
      view.setUint8(at + 3, this.#offset(index, one.no, MAX_OFFSET))
      view.setUint32(at + 4, one.to === undefined ? one.k : this.#offset(index, one.to, count), true)
    })
    return bytes
  }

  #add(instruction: Instruction): void {
    if (!Number.isInteger(instruction.k) || instruction.k < 0 || instruction.k > 0xffffffff) {
      throw new Error(`${instruction.k} is no unsigned 32-bit number`)
    }
    this.#instructions.push(instruction)
  }

  /** Instructions to skip. Jumps go forward alone, which is why every program ends. */
  #offset(from: number, to: Label | undefined, reach: number): number {
    if (to === undefined) return 0
    const place = this.#places.get(to)
    if (place === undefined) throw new Error(`The label "${to.name}" stands nowhere`)
    if (place >= this.#instructions.length) throw new Error(`The label "${to.name}" stands after the end`)
    const offset = place - from - 1
    if (offset < 0) throw new Error(`The jump to "${to.name}" goes back`)
    if (offset > reach)
      throw new Error(`The jump to "${to.name}" skips ${offset} instructions, more than ${reach}`)
    return offset
  }
}
