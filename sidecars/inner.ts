/** Entry of the inner bundle: process 1 of the sandbox. */
import { runInner } from "./inner/main.ts"

await runInner()
