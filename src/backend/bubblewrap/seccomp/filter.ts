/**
 * The system call filter of a sandbox, as `bwrap --seccomp FD` reads it. Numbers are decided by a binary search, so that
 * a kernel without the bitmap of Linux 5.11 takes some eight comparisons per call and not a hundred.
 */
import { type Label, label, Program } from "./bpf.ts"
import {
  ARGUMENT_RULES,
  type ArgumentRule,
  type ArgumentTest,
  ERRNO,
  type ErrnoName,
  REFUSED_CALLS,
} from "./rules.ts"
import { ARM64 } from "./syscalls-arm64.ts"
import { X64 } from "./syscalls-x64.ts"
import type { SyscallTable } from "./table.ts"

export type SeccompArch = "x64" | "arm64"

/** One thing that the filter refuses, for people. */
export interface DeniedCall {
  /** Name of the call; what is meant, in words, where it is not one call */
  call: string
  /** Number of the call; absent where it is not one call */
  number?: number
  /** Which uses of the call are refused; absent is all */
  when?: string
  /** What the caller gets: an error, or its end */
  outcome: ErrnoName | "killed"
  /** What the call could do */
  why: string
}

const TABLES: Readonly<Record<SeccompArch, SyscallTable>> = { x64: X64, arm64: ARM64 }

// linux/seccomp.h
const KILL_PROCESS = 0x80000000
const ALLOW = 0x7fff0000
const refusal = (errno: ErrnoName) => (0x00050000 | ERRNO[errno]) >>> 0

// struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6]
const NUMBER = 0
const ARCH = 4
/** The low half of an argument: both architectures are little endian */
const argument = (position: number) => 16 + 8 * position

/** What becomes of a span of call numbers: a value to return, or a place where the arguments are asked. */
type Verdict = number | Label
interface Span {
  /** First number; the span ends before the next one's */
  from: number
  verdict: Verdict
}

/** An array of struct sock_filter. The result is the same at every call. */
export function seccompFilter(arch: SeccompArch): Uint8Array {
  const table = TABLES[arch]
  const program = new Program()
  const ours = label("our own architecture")
  program.load(ARCH)
  program.branch("equal", table.auditArch, { yes: ours })
  // The numbers of another architecture mean other calls: i386 has socketcall and 32-bit ARM a mount of its own.
  program.return(KILL_PROCESS)
  program.place(ours)
  program.load(NUMBER)
  const asking = argumentRules(table)
  search(program, spans(table, asking))
  for (const { at, rules } of asking.values()) {
    program.place(at)
    for (const rule of rules) ask(program, rule)
    program.return(ALLOW)
  }
  return program.assemble()
}

/** All that the filter of an architecture refuses, for documentation and for tests. */
export function deniedCalls(arch: SeccompArch): DeniedCall[] {
  const table = TABLES[arch]
  const last = table.assigned.at(-1)![1]
  const denied: DeniedCall[] = [
    {
      call: "every call of another architecture",
      outcome: "killed",
      why:
        arch === "x64"
          ? "a 64-bit program reaches i386's calls by int 0x80, where the numbers mean other calls and socketcall hides sockets"
          : "32-bit ARM's numbers mean other calls",
    },
    {
      call: `every number that Linux 6.18 gives to no call, all above ${last} included`,
      outcome: "ENOSYS",
      why:
        arch === "x64"
          ? "calls of a later kernel, which nobody has looked at, and x32's calls, whose numbers start at 0x40000000"
          : "calls of a later kernel, which nobody has looked at",
    },
  ]
  for (const { calls, errno, why } of REFUSED_CALLS) {
    for (const [call, number] of numbered(table, calls)) denied.push({ call, number, outcome: errno, why })
  }
  for (const { calls, errno, when, why } of ARGUMENT_RULES) {
    for (const [call, number] of numbered(table, calls))
      denied.push({ call, number, when, outcome: errno, why })
  }
  return denied
}

function numbered(table: SyscallTable, calls: readonly string[]): [call: string, number: number][] {
  return calls.flatMap((call) => {
    const number = table.numbers[call]
    return number === undefined ? [] : [[call, number]]
  })
}

/** Calls whose arguments are asked, by number. */
function argumentRules(table: SyscallTable): Map<number, { at: Label; rules: ArgumentRule[] }> {
  const asking = new Map<number, { at: Label; rules: ArgumentRule[] }>()
  for (const rule of ARGUMENT_RULES) {
    for (const [call, number] of numbered(table, rule.calls)) {
      const found = asking.get(number) ?? { at: label(`arguments of ${call}`), rules: [] }
      found.rules.push(rule)
      asking.set(number, found)
    }
  }
  return asking
}

/** All numbers from 0 to 0xffffffff, in spans of one verdict each. */
function spans(table: SyscallTable, asking: ReadonlyMap<number, { at: Label }>): Span[] {
  const verdicts = new Map<number, Verdict>()
  for (const { calls, errno } of REFUSED_CALLS) {
    for (const [, number] of numbered(table, calls)) verdicts.set(number, refusal(errno))
  }
  for (const [number, { at }] of asking) verdicts.set(number, at)
  const found: Span[] = []
  const add = (from: number, verdict: Verdict) => {
    if (found.at(-1)?.verdict !== verdict) found.push({ from, verdict })
  }
  for (const [first, last] of table.assigned) {
    for (let number = first; number <= last; number++) add(number, verdicts.get(number) ?? ALLOW)
    // This holds for x32's numbers too, and for -1, which a tracer sets to skip a call.
    add(last + 1, refusal("ENOSYS"))
  }
  return found
}

/** Finds the span of the number in the accumulator. */
function search(program: Program, among: readonly Span[]): void {
  if (among.length === 1) {
    const { verdict } = among[0]!
    if (typeof verdict === "number") program.return(verdict)
    else program.jump(verdict)
    return
  }
  const middle = among.length >> 1
  const { from } = among[middle]!
  const upper = label(`numbers from ${from} on`)
  program.branch("greaterOrEqual", from, { yes: upper })
  search(program, among.slice(0, middle))
  program.place(upper)
  search(program, among.slice(middle))
}

/** Returns the rule's refusal when all its tests hold, and goes on after it otherwise. */
function ask(program: Program, rule: ArgumentRule): void {
  const otherwise = label(`after the rule: ${rule.when}`)
  for (const test of rule.tests) askArgument(program, test, otherwise)
  program.return(refusal(rule.errno))
  program.place(otherwise)
}

function askArgument(program: Program, test: ArgumentTest, otherwise: Label): void {
  program.load(argument(test.argument))
  if (test.mask !== undefined) program.and(test.mask)
  if (test.is === "noneOf") {
    for (const value of test.values) program.branch("equal", value, { yes: otherwise })
    return
  }
  const comparison = test.is === "oneOf" ? "equal" : "anyBitOf"
  const holds = label("the test holds")
  test.values.forEach((value, index) => {
    const last = index === test.values.length - 1
    program.branch(comparison, value, last ? { no: otherwise } : { yes: holds })
  })
  program.place(holds)
}
