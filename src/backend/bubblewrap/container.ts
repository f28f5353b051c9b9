/** Containers as the place that bottles are started in: what their engines forbid, and how that is allowed. */
import { type Machine, systemText } from "../../runtime/machine.ts"

/** Docker's own filter forbids new namespaces; and with part of /proc hidden, the kernel lets nobody mount a whole one. */
const UNCONFINED = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
export const USER_IN_CONTAINER = `docker run ${UNCONFINED} ...`
export const ROOT_IN_CONTAINER = `docker run --cap-add SYS_ADMIN ${UNCONFINED} ...`

/** Whether this machine is one, as Docker and Podman mark theirs. */
export function isContainer(machine: Machine): boolean {
  return ["/.dockerenv", "/run/.containerenv"].some((path) => systemText(machine, path) !== undefined)
}
