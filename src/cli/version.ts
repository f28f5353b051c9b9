/** The version, from package.json at build time: a compiled binary must not read files of the folder it is run in. */
import manifest from "../../package.json" with { type: "json" }

export const VERSION: string = manifest.version
