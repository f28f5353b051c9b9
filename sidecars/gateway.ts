/**
 * Entry of the gateway bundle. `init` is process 1's child in the gateway; the rest is started by init, `control` by
 * the host program. Each part is imported lazily, so that none pays for the others at start.
 */
const parts: Record<string, () => Promise<void>> = {
  init: async () => (await import("./init/main.ts")).runInit(),
  keeper: async () => (await import("./init/keeper.ts")).runKeeper(),
  egress: async () => (await import("./egress/main.ts")).runEgress(),
  control: async () => (await import("./init/control-bridge.ts")).runControlBridge(),
}

const part = process.argv[2] ?? ""
const run = Object.hasOwn(parts, part) ? parts[part] : undefined
if (run === undefined) {
  console.error(`gateway: unknown part "${part}"; one of ${Object.keys(parts).join(", ")}`)
  process.exit(2)
}
await run()

export {}
