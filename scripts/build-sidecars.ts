/** Writes the sidecars' bundles to dist/sidecars, one folder each, for a look at them and for measurements. */
import { mkdir, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { bundleSidecar, SIDECARS } from "../src/runtime/bundle.ts"

const project = join(import.meta.dirname, "..")
for (const name of SIDECARS) {
  const folder = join(project, "dist", "sidecars", name)
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  for (const [file, text] of Object.entries(await bundleSidecar(project, name))) {
    await writeFile(join(folder, file), text)
    console.error(`dist/sidecars/${name}/${file} ${text.length} bytes`)
  }
}
