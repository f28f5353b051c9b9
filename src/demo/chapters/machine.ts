/** This machine, of which the agent sees programs and nothing else. */
import { answerOf, failed, shown } from "../answer.ts"
import type { Chapter, Step } from "../step.ts"

const NOT_THERE = /no such file or directory/i
const OWNER = "owner of /usr: "

/** Something of the host that must not exist inside: that it may not be read would be another, lower wall. */
function notThere(name: string, tried: Step["tried"], says: string): Step {
  return {
    name,
    who: "agent",
    tried,
    async run(stage, tried) {
      const result = await stage.sh(tried)
      const holds = failed(result) && result.stdout === "" && NOT_THERE.test(result.stderr)
      return { holds, seen: shown(answerOf(result)), says: holds ? says : "It is there" }
    },
  }
}

const noRoot: Step = {
  name: "no-root",
  who: "agent",
  tried: () => `id -u; stat -c '${OWNER}%U' /usr; touch /usr/mine`,
  async run(stage, tried) {
    const result = await stage.sh(tried)
    const [uid = "", owner = ""] = result.stdout.split("\n")
    const ordinary = /^[1-9][0-9]*$/.test(uid)
    const foreign = owner === `${OWNER}nobody`
    const readOnly = failed(result) && /read-only/i.test(result.stderr)
    return {
      holds: ordinary && foreign && readOnly,
      seen: shown(answerOf(result)),
      says: !ordinary
        ? "The agent is root"
        : !foreign
          ? "The system's owner is somebody in there"
          : !readOnly
            ? "The system is not read-only"
            : "It is not root, root is nobody to it, and the system is read-only",
    }
  },
}

export const MACHINE: Chapter = {
  title: "This machine is out of its sight",
  steps: [
    notThere("host-files", ({ hostFolder }) => `ls ${hostFolder}`, "Your files are not there"),
    notThere("host-passwords", () => "cat /etc/shadow", "Nor is the file of this machine's passwords"),
    noRoot,
  ],
}
