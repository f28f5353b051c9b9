/** Entry of the inner bundle: process 1 of the sandbox. What fails before there is an agent is told in one line. */
import { reasonOf } from "../src/runtime/error.ts"
import { runInner } from "./inner/main.ts"

try {
  await runInner()
} catch (error) {
  console.error(`inner: ${reasonOf(error)}`)
  process.exit(126)
}
