/** One entry of what a bubblewrap sandbox sees, in the order in which the entries are made. */

/** A host path, read-only and without set-id bits, at a path of the sandbox */
export interface RoBind {
  kind: "ro-bind"
  /** Absolute path on the host, without symbolic links in it; a folder brings what is mounted below it */
  from: string
  /** Absolute path inside the sandbox */
  to: string
}

export interface SymlinkMount {
  kind: "symlink"
  /** Text of the link, as readlink(2) gives it */
  target: string
  /** Absolute path inside the sandbox */
  to: string
}

/** A file that the host does not have */
export interface FileMount {
  kind: "file"
  /** Absolute path inside the sandbox */
  to: string
  content: string
  /** Permission bits */
  mode: number
}

export interface DirMount {
  kind: "dir"
  /** Absolute path inside the sandbox */
  to: string
  /** Permission bits; absent means 0755 */
  mode?: number
}

/** An empty folder that hides a folder of an earlier entry */
export interface EmptyMount {
  kind: "empty"
  /** Absolute path inside the sandbox of a folder that is there */
  to: string
}

export type Mount = RoBind | SymlinkMount | FileMount | DirMount | EmptyMount
