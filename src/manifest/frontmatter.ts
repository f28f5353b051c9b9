/** From the text of a manifest to plain data: YAML between two `---` lines, then the body. */
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLMap,
} from "yaml"
import { type Fault, type KeyPath, ManifestFaults } from "./fault.ts"

/** Characters of YAML; YAML grows when parsed, and no honest manifest comes near */
const YAML_MAX = 64 * 1024
/** Levels of maps and lists; the schema needs six */
const DEPTH_MAX = 12

export interface Frontmatter {
  data: Record<string, unknown>
  /** Text after the frontmatter with plain newlines, without surrounding blank lines */
  body: string
  /** Line of a value in the file, from 1; of what surrounds it when it is not there */
  lineOf(path: KeyPath): number
}

/** Reads the text of a manifest. Throws ManifestFaults. */
export function parseFrontmatter(text: string): Frontmatter {
  const { yaml, body } = split(text)
  if (yaml.length > YAML_MAX) {
    throw fault(1, `the part between the --- lines has more than ${YAML_MAX / 1024} KiB`, "Make it shorter")
  }
  const lines = new LineCounter()
  const document = parseDocument(yaml, {
    version: "1.2",
    schema: "core",
    strict: true,
    merge: false,
    stringKeys: true,
    prettyErrors: false,
    lineCounter: lines,
    // The library compares each key with each other one; the walk below does it in one pass, and names both lines.
    uniqueKeys: false,
  })
  // The first `---` takes line 1.
  const lineAt = (offset: number) => lines.linePos(offset).line + 1
  const broken = document.errors[0]
  if (broken !== undefined) {
    const place = lines.linePos(broken.pos[0])
    throw fault(place.line + 1, `not valid YAML (column ${place.col}): ${broken.message}`, "")
  }
  const root = document.contents as Node | null
  if (root === null || (isScalar(root) && root.value === null)) return { data: {}, body, lineOf: () => 1 }
  if (!isMap(root)) throw fault(2, "the part between the --- lines is not a list of `key: value` lines", "")
  const faults: Fault[] = []
  walk(root, [], lineAt, faults)
  if (faults.length > 0) throw new ManifestFaults(faults)
  const pairsOf = pairIndex()
  return {
    data: document.toJS({ maxAliasCount: 0 }),
    body,
    lineOf: (path) => locate(root, path, lineAt, pairsOf),
  }
}

function split(text: string): { yaml: string; body: string } {
  const plain = text.replace(/^\ufeff/, "").replaceAll("\r\n", "\n")
  const opening = /^---[ \t]*\n/.exec(plain)
  if (opening === null) {
    throw fault(
      1,
      "the file does not begin with a line of three dashes",
      "Begin it with ---, then keys, then ---",
    )
  }
  const closing = /^---[ \t]*$/m.exec(plain.slice(opening[0].length))
  if (closing === null) {
    throw fault(1, "the three dashes of line 1 have no counterpart", "Put a line of --- after the last key")
  }
  const end = opening[0].length + closing.index
  return { yaml: plain.slice(opening[0].length, end), body: plain.slice(end + closing[0].length).trim() }
}

/** Refuses what makes a manifest mean something else than it says, or cost more than its size. */
function walk(node: unknown, path: KeyPath, lineAt: (offset: number) => number, faults: Fault[]): void {
  const line = lineAt((node as Node | null)?.range?.[0] ?? 0)
  const report = (text: string, fix: string) => faults.push({ path, line, text, fix })
  if (path.length > DEPTH_MAX) return void report(`nested more than ${DEPTH_MAX} levels deep`, "")
  if (isAlias(node)) return void report(`*${node.source} refers to another value`, "Write the value itself")
  if (isScalar(node) || isMap(node) || isSeq(node)) {
    if (node.anchor !== undefined) return void report(`&${node.anchor} names the value`, "Remove the &name")
    if (node.tag !== undefined) return void report(`${node.tag} gives the value a type`, "Remove the tag")
  }
  if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) walk(item, [...path, index], lineAt, faults)
  }
  if (isMap(node)) walkMap(node.items, path, lineAt, faults)
}

function walkMap(
  items: readonly unknown[],
  path: KeyPath,
  lineAt: (offset: number) => number,
  faults: Fault[],
): void {
  const seen = new Map<string, number>()
  for (const pair of items) {
    if (!isPair(pair)) continue
    const key = String(isScalar(pair.key) ? pair.key.value : pair.key)
    const line = lineAt((pair.key as Node).range?.[0] ?? 0)
    const first = seen.get(key)
    if (first !== undefined) {
      faults.push({
        path: [...path, key],
        line,
        text: `the key is on line ${first} already`,
        fix: "Keep one of them",
      })
    }
    seen.set(key, line)
    if (key === "<<") {
      faults.push({
        path: [...path, key],
        line,
        text: "merge keys are not read",
        fix: "Write the keys themselves",
      })
      continue
    }
    // Assigning it in JavaScript would change the object's prototype instead of adding a key.
    if (key === "__proto__") {
      faults.push({ path: [...path, key], line, text: "not a key that can be used", fix: "Remove it" })
      continue
    }
    walk(pair.key, [...path, key], lineAt, faults)
    walk(pair.value, [...path, key], lineAt, faults)
  }
}

type PairsOf = (map: YAMLMap) => ReadonlyMap<string, Pair>

/** The pairs of a map by key, looked up once for each map: a file may have a fault in each of its thousands of keys. */
function pairIndex(): PairsOf {
  const known = new WeakMap<YAMLMap, ReadonlyMap<string, Pair>>()
  return (map) => {
    let pairs = known.get(map)
    if (pairs === undefined) {
      pairs = new Map(map.items.map((pair) => [isScalar(pair.key) ? String(pair.key.value) : "", pair]))
      known.set(map, pairs)
    }
    return pairs
  }
}

function locate(root: Node, path: KeyPath, lineAt: (offset: number) => number, pairsOf: PairsOf): number {
  let node: unknown = root
  let line = lineAt(root.range?.[0] ?? 0)
  for (const part of path) {
    if (isMap(node)) {
      const pair = pairsOf(node).get(String(part))
      if (pair === undefined) return line
      line = lineAt((pair.key as Node).range?.[0] ?? 0)
      node = pair.value
    } else if (isSeq(node) && typeof part === "number") {
      const item = node.items[part] as Node | undefined
      if (item === undefined) return line
      line = lineAt(item.range?.[0] ?? 0)
      node = item
    } else return line
  }
  return line
}

function fault(line: number, text: string, fix: string): ManifestFaults {
  return new ManifestFaults([{ path: [], line, text, fix }])
}
