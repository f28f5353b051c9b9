/** The files of Docker's plugins, which are programs of their own as well. */
import { accessSync, constants } from "node:fs"
import { join } from "node:path"
import { hostEnv, userHome } from "../../runtime/home.ts"

/** Where docker looks for its plugins after the user's own folder (docker/cli, cli-plugins/manager). */
const SYSTEM_FOLDERS = [
  "/usr/local/lib/docker/cli-plugins",
  "/usr/local/libexec/docker/cli-plugins",
  "/usr/lib/docker/cli-plugins",
  "/usr/libexec/docker/cli-plugins",
]

/** Path of the plugin that docker would run; undefined when it is in none of the usual places. */
export function composePlugin(): string | undefined {
  return dockerPlugin("docker-compose")
}

/** The same for any plugin, by the name of its file. */
export function dockerPlugin(file: string): string | undefined {
  const env = hostEnv()
  const own = join(env.DOCKER_CONFIG || join(userHome(env), ".docker"), "cli-plugins")
  return [own, ...SYSTEM_FOLDERS].map((folder) => join(folder, file)).find(isProgram)
}

/** Whether there is a file that this user may run. */
function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
