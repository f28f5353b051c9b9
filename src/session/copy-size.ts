/** How large a folder is that will be copied into a bottle, where that is worth a word. */
import { LARGE_TREE_BYTES, treeSize } from "../backend/bubblewrap/tree-size.ts"
import { thisMachine } from "../runtime/machine.ts"

const GIB = 2 ** 30

/** For people: empty when it is small, or cannot be told. */
export async function largeCopy(folder: string): Promise<string> {
  // It walks by /proc, which other systems do not have.
  if (thisMachine().platform !== "linux") return ""
  const { files, bytes, complete } = await treeSize(folder, new AbortController().signal)
  // What could not be counted in its time has many files, if not many bytes.
  if (complete && bytes < LARGE_TREE_BYTES) return ""
  const size = `${(bytes / GIB).toFixed(1)} GiB in ${files.toLocaleString("en")} ${files === 1 ? "file" : "files"}`
  return complete ? size : `more than ${size}`
}
