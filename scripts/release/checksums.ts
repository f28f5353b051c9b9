/** SHA256SUMS, as `sha256sum` writes and checks it. */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { pipeline } from "node:stream/promises"

/** SHA-256 of a file, in hexadecimal. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash("sha256")
  await pipeline(createReadStream(path), hash)
  return hash.digest("hex")
}

/** Text of SHA256SUMS over sums by file name; two spaces mean that a file is read as it is. */
export function checksumsText(sums: Readonly<Record<string, string>>): string {
  return Object.keys(sums)
    .sort()
    .map((name) => `${sums[name]}  ${name}\n`)
    .join("")
}
