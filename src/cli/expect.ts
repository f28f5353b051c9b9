/** What a start will most likely need, begun before its manifests are read: nothing depends on it. */
import { warmKeeper } from "../backend/bubblewrap/keeper-start.ts"
import { bottleHome, hostEnv } from "../runtime/home.ts"
import { mentionsBackend } from "../session/last-backends.ts"

/** Where bubblewrap was used, it is used again. A wrong guess costs a process that ends by itself. */
export function expectStart(args: readonly string[]): void {
  const own = args.includes("--") ? args.slice(0, args.indexOf("--")) : args
  if (own.some((arg) => ["--dry-run", "--help", "-h"].includes(arg) || arg.startsWith("--backend"))) return
  if (mentionsBackend(bottleHome(hostEnv()), "bubblewrap")) warmKeeper()
}
