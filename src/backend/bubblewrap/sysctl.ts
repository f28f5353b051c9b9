/** A setting of the kernel, as a person changes it. */
import type { Machine } from "../../runtime/machine.ts"
import { asRoot } from "../packages.ts"

const FILE = "/etc/sysctl.d/60-bottle.conf"

/** The command that makes a setting now and at every boot, `line` as in sysctl.conf(5). */
export function setting(machine: Machine, line: string): string {
  return `echo ${line} | ${asRoot(machine, `tee -a ${FILE}`)} && ${asRoot(machine, `sysctl -p ${FILE}`)}`
}
