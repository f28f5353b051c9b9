/** `bottle start [agent]`: preflight, question, launch, session, settlement. */

import { statSync } from "node:fs"
import { isAbsolute, relative, resolve } from "node:path"
import { defineCommand } from "citty"
import { usageError } from "../runtime/error.ts"
import type { StartSpec } from "../session/prepare.ts"
import { cliContext } from "./context.ts"
import { pickAgent } from "./pick.ts"
import { runSession } from "./session.ts"
import { SESSION_ARGS, sessionOptions, sessionSpec } from "./session-args.ts"

export default defineCommand({
  meta: { name: "bottle start", description: "Start an agent in a new bottle" },
  args: {
    agent: {
      type: "positional",
      required: false,
      description: "name of the agent; asked when there are several",
    },
    ...SESSION_ARGS,
    backend: { type: "string", description: "docker or bubblewrap", valueHint: "name" },
    cwd: { type: "boolean", description: "copy the current folder, .git included, to /workspace" },
  },
  async run({ args, rawArgs }) {
    const context = cliContext()
    const manifests = context.manifests()
    const agent = args.agent ?? (await pickAgent(manifests.agents()))
    // Whatever is wrong with the agent is told before anything about this call.
    manifests.agent(agent)
    const spec: StartSpec = {
      agent,
      ...(args.backend === undefined ? {} : { backend: args.backend }),
      ...(args.cwd ? { cwd: workspaceSource(context.cwd, context.home) } : {}),
      ...sessionSpec(args, rawArgs),
    }
    return runSession(spec, { ...context, manifests: () => manifests }, sessionOptions(args))
  },
})

/** A linked worktree's `.git` is a file that points out of the folder: a copy of it would not be a repository. */
function workspaceSource(cwd: string, home: string): string {
  const name = relative(cwd, home)
  if (name === "" || !(name.startsWith("..") || isAbsolute(name))) {
    throw usageError(
      `${cwd} cannot be copied into a bottle`,
      "Start from the folder of one project",
      `it holds bottle's own folder, ${home}, with the keys and the work of other bottles`,
    )
  }
  const git = statSync(resolve(cwd, ".git"), { throwIfNoEntry: false })
  if (git?.isFile()) {
    throw usageError(
      `${cwd} is a linked git worktree, which cannot be copied by itself`,
      "Start from a clone: git clone . ../copy && cd ../copy",
      "its .git is a file that points to the repository elsewhere",
    )
  }
  return cwd
}
