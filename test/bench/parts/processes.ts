/** Starts the parts of a bench as processes of their own and waits until they listen. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import process from "node:process"
import { createInterface } from "node:readline"

export interface Part extends AsyncDisposable {
  /** Number that it printed, its port where it has one */
  port: number
  process: ChildProcess
}

/** Starts `test/bench/parts/<name>.ts`; it is ready when it prints `listening`. */
export async function startPart(name: string, args: string[]): Promise<Part> {
  const child = spawn(process.execPath, ["--no-env-file", join(import.meta.dir, `${name}.ts`), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const lines = createInterface({ input: child.stdout })
  const [line] = (await Promise.race([
    once(lines, "line"),
    once(child, "exit").then(() => {
      throw new Error(`${name} ended before it listened`)
    }),
  ])) as [string]
  return {
    port: Number(/^listening (\d+)/.exec(line)?.[1] ?? 0),
    process: child,
    async [Symbol.asyncDispose]() {
      const exited = once(child, "exit")
      child.kill()
      await exited
    },
  }
}

/** Runs a part to its end; what it printed, as JSON. */
export async function runPart<T>(name: string, args: string[]): Promise<T> {
  const child = spawn(process.execPath, ["--no-env-file", join(import.meta.dir, `${name}.ts`), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  let text = ""
  child.stdout.on("data", (chunk) => {
    text += chunk
  })
  const [code] = (await once(child, "close")) as [number | null]
  if (code !== 0) throw new Error(`${name} ended with ${code}`)
  return JSON.parse(text) as T
}
