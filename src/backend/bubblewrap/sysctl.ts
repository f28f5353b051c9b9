/** A setting of the kernel, as a person changes it. */
import type { Machine } from "../../runtime/machine.ts"
import { asRoot } from "../packages.ts"

const FILE = "/etc/sysctl.d/60-bottle.conf"

/** Commands that make a setting now and at every boot, `line` as in sysctl.conf(5). */
export function setting(machine: Machine, line: string): string {
  const write = `echo ${line} | \\\n  ${asRoot(machine, `tee -a ${FILE}`)}`
  return `${write}\n${asRoot(machine, `sysctl -p ${FILE}`)}`
}
