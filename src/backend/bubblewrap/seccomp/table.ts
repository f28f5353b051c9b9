/** What a filter has to know of an architecture. */

export interface SyscallTable {
  /** AUDIT_ARCH_* value of the architecture's own calls */
  auditArch: number
  /** Spans of numbers that Linux 6.18 gives to calls: first and last, ascending */
  assigned: readonly (readonly [number, number])[]
  /** Numbers of the calls that the policy names; a call that the architecture lacks is absent */
  numbers: Readonly<Record<string, number>>
}
