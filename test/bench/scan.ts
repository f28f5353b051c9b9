/**
 * The scanner: time for a model's conversation full of code, the worst mebibyte that could be thought of, findings in
 * real source trees, and the pattern matcher against the runtime's own.
 */
import { randomBytes, randomUUID } from "node:crypto"
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { gzipSync } from "node:zlib"
import { RE2JS } from "re2js"
import { defaultRuleset } from "../../src/policy/scan/rules/default.ts"
import { compile, type Scanner } from "../../src/policy/scan/scanner.ts"
import { alternate, type BenchResult, type Figures, median } from "./harness.ts"

const PROJECT = join(import.meta.dirname, "..", "..")
const KIB = 1024
const MIB = 1024 * KIB
const ROUNDS = 31
/** Source trees by kind; those that a machine lacks are left out, and the last line says how much was read. */
const TREES: Readonly<Record<string, readonly string[]>> = {
  "packages of this project": [join(PROJECT, "node_modules")],
  "Python's libraries": [
    "/usr/lib/python3",
    "/usr/lib/python3.11",
    "/usr/lib/python3.12",
    "/usr/lib/python3.13",
  ],
  "Perl's libraries": ["/usr/share/perl", "/usr/share/perl5"],
  "global packages of Node": ["/usr/lib/node_modules", "/usr/share/nodejs"],
}
/** Text that agents read and send; binaries are another matter */
const SOURCE = /\.(?:[cm]?[jt]sx?|json|py|pyi|pl|pm|pod|md|txt|rst|ya?ml|toml|css|html?|sh|c|h|map)$/

export async function bench(): Promise<BenchResult> {
  const secrets = Array.from({ length: 20 }, (_, i) => ({ name: `secret ${i}`, value: randomUUID() }))
  const scanner = compile(defaultRuleset(), secrets)
  const files = sources(PROJECT)
  const figures: Figures = {
    ...(await times(scanner, files)),
    ...worst(scanner),
    ...(await matchers()),
    ...falsePositives(),
  }
  return {
    bench: "scan",
    figures,
    targets: {
      json_10kib_ms: { max: 1 },
      json_1mib_ms: { max: 60 },
      worst_missed: { max: 0 },
      findings_per_10mb: { max: 1 },
    },
  }
}

/** The project's own program text: what a conversation about code is made of. */
function sources(project: string): string[] {
  return ["src", "sidecars"].flatMap((folder) =>
    (readdirSync(join(project, folder), { recursive: true }) as string[])
      .filter((name) => name.endsWith(".ts"))
      .sort()
      .map((name) => readFileSync(join(project, folder, name), "utf8")),
  )
}

/** A request to a model API of about this size, from place `from` of the files on. */
function conversation(files: readonly string[], size: number, from: number): Uint8Array {
  const messages: object[] = []
  let length = 200
  for (let i = from; length < size; i++) {
    const file = files[i % files.length]!.slice(0, size - length)
    const role = i % 2 === 0 ? "user" : "assistant"
    messages.push({ role, content: [{ type: "text", text: `Here is the file:\n\`\`\`ts\n${file}\n\`\`\`` }] })
    length += JSON.stringify(file).length + 90
  }
  return Buffer.from(JSON.stringify({ model: "m", max_tokens: 4096, stream: true, messages }))
}

/** Milliseconds for one body, pushed in pieces as a socket gives them. */
function scanTime(scanner: Scanner, bytes: Uint8Array): number {
  const from = performance.now()
  const body = scanner.body("application/json", "")
  for (let at = 0; at < bytes.length; at += 64 * KIB) body.push(bytes.subarray(at, at + 64 * KIB))
  const { stopped } = body.end()
  if (stopped) throw new Error("an ordinary conversation went over budget")
  return performance.now() - from
}

async function times(scanner: Scanner, files: readonly string[]): Promise<Figures> {
  const small = Array.from({ length: 40 }, (_, i) => conversation(files, 10 * KIB, i * 3))
  const large = conversation(files, MIB, 0)
  const heads = Array.from({ length: 40 }, () => head())
  for (const body of small) scanTime(scanner, body)
  const cpu = process.cpuUsage()
  const results = await alternate(
    {
      head: async () => {
        const from = performance.now()
        for (const one of heads) scanner.head(one)
        return (performance.now() - from) / heads.length
      },
      small: async () => median(small.map((body) => scanTime(scanner, body))),
      large: async () => scanTime(scanner, large),
    },
    ROUNDS,
  )
  const used = process.cpuUsage(cpu)
  const wall = [...results.large, ...results.small.map((one) => one * small.length)].reduce(
    (a, b) => a + b,
    0,
  )
  return {
    head_ms: median(results.head),
    json_10kib_ms: median(results.small),
    json_1mib_ms: median(results.large),
    json_1mib_best_ms: Math.min(...results.large),
    // Under 1, others had the processor: then the times above are theirs, too.
    processor_share: (used.user + used.system) / 1000 / wall,
  }
}

function head() {
  return {
    host: "api.example.com",
    path: `/v1/projects/${randomUUID()}/messages`,
    query: "beta=true&page=2",
    headers: [
      ["Host", "api.example.com"],
      ["User-Agent", "agent-cli/2.1.0 (external, cli)"],
      ["Accept", "application/json"],
      ["Accept-Encoding", "gzip, deflate, br, zstd"],
      ["Content-Type", "application/json"],
      ["X-Request-Id", randomUUID()],
      ["X-Runtime", "node"],
      ["X-Runtime-Version", "v24.3.0"],
      ["Connection", "keep-alive"],
      ["Content-Length", "18233"],
    ] as [string, string][],
  }
}

/** What hurts most: each a mebibyte, with a secret at its end that must not pass unseen. */
function worst(scanner: Scanner): Figures {
  const prefix = `gh${"p"}_`
  const secret = Buffer.from(`\n${prefix}${randomBytes(60).toString("hex").slice(0, 36)}\n`)
  const fill = (unit: string) =>
    Buffer.from(unit.repeat(Math.ceil(MIB / unit.length)).slice(0, MIB), "latin1")
  const inputs: Record<string, Uint8Array> = {
    "near misses of keywords": fill(`${prefix}abc sk_${"live"}_ AK${"IA"} glpat- AIza heroku= datadog: `),
    "tokens one character short": fill(`${prefix}${randomBytes(30).toString("hex").slice(0, 35)} `),
    placeholders: fill(`${prefix}${"a".repeat(36)} `),
    alternations: fill(`https${"://"}aaaaaaa:bbbbbbbb postgres${"://"}a:b mysql${"://"}c:d `),
    "random base64": Buffer.from(randomBytes((MIB * 3) / 4).toString("base64")),
    "random hexadecimal": Buffer.from(randomBytes(MIB / 2).toString("hex")),
    "random bytes": randomBytes(MIB),
    "percent of percent": fill("%2525252541"),
    backslashes: fill("\\\\\\\\u0041"),
    "base64 in base64, as deep as a mebibyte goes": nested(MIB),
    "strings to join": fill('"a" + "b", '),
    "gzip headers": fill("\u001f\u008b\u0008\u0000\u0000\u0000\u0000\u0000\u0000\u0003"),
    "zlib headers": fill("x\u009c"),
    "a bomb": gzipSync(Buffer.alloc(256 * MIB)),
  }
  let missed = 0
  let slowest = 0
  for (const [name, input] of Object.entries(inputs)) {
    const bytes = Buffer.concat([input, secret])
    let took = 0
    let found = false
    for (let round = 0; round < 3; round++) {
      const from = performance.now()
      const body = scanner.body("", "")
      const findings = [...body.push(bytes).findings, ...body.end().findings]
      const ms = performance.now() - from
      took = round === 0 ? ms : Math.min(took, ms)
      found = findings.some((one) => one.rule === "github-pat" || one.bound !== undefined)
      if (round === 0) {
        const bound = findings.find((one) => one.bound !== undefined)?.bound
        console.error(`  worst: ${name}: ${bound === undefined ? "scanned through" : `refused (${bound})`}`)
      }
    }
    console.error(`  worst: ${name}: ${took.toFixed(0)} ms, ${(bytes.length / KIB).toFixed(0)} KiB`)
    if (!found) missed++
    slowest = Math.max(slowest, took)
  }
  return { worst_mib_ms: slowest, worst_missed: missed }
}

/** Base64 of base64 of base64, until the text is as long as asked for. */
function nested(length: number): Uint8Array {
  let bytes: Uint8Array = randomBytes(64)
  while (bytes.length < length) bytes = Buffer.from(Buffer.from(bytes).toString("base64"))
  return bytes
}

/** Why patterns are matched by re2js: what windows cost, and what the runtime's RegExp does with hostile ones. */
async function matchers(): Promise<Figures> {
  const pattern = `(?:^|[^A-Za-z0-9])(AK${"IA"}[A-Z2-7]{16})(?:[^A-Za-z0-9]|$)`
  const window = `const id = "AK${"IA"}IOSFODNN7ABCDEFG" // and what stands around it in the file`
  const re2 = RE2JS.compile(pattern)
  const native = new RegExp(pattern)
  const repeat = (run: () => boolean) => async () => {
    const from = performance.now()
    for (let i = 0; i < 5000; i++) if (!run()) throw new Error("no match")
    return ((performance.now() - from) / 5000) * 1000
  }
  const results = await alternate(
    { re2js: repeat(() => re2.test(window)), native: repeat(() => native.test(window)) },
    9,
  )
  // A match stands at the end; what comes before makes a backtracking matcher try without end.
  const bad = "(x+x+)+y"
  const hostile = `${"x".repeat(60)}\nxxy`
  return {
    re2js_window_us: median(results.re2js),
    native_window_us: median(results.native),
    re2js_hostile_found: RE2JS.compile(bad).test(hostile) ? 1 : 0,
    native_hostile_found: new RegExp(bad).test(hostile) ? 1 : 0,
  }
}

function falsePositives(): Figures {
  const scanner = compile(defaultRuleset(), [])
  let bytes = 0
  let findings = 0
  let notes = 0
  for (const [kind, folders] of Object.entries(TREES)) {
    const before = { bytes, findings }
    for (const file of folders.filter((folder) => existsSync(folder)).flatMap(textFiles)) {
      const text = readFileSync(file)
      bytes += text.length
      const body = scanner.body("", "", "object")
      for (const finding of [...body.push(text).findings, ...body.end().findings]) {
        if (finding.severity === "note") notes++
        else {
          findings++
          console.error(`  blocked in ${kind}: ${finding.rule} ${finding.bound ?? ""} ${finding.redacted}`)
        }
      }
    }
    const size = ((bytes - before.bytes) / 1e6).toFixed(1)
    console.error(`  ${kind}: ${size} MB, ${findings - before.findings} blocked`)
  }
  return {
    tree_mb: bytes / 1e6,
    tree_findings: findings,
    tree_notes: notes,
    findings_per_10mb: findings / (bytes / 1e7),
  }
}

function textFiles(folder: string): string[] {
  const found: string[] = []
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    const stat = lstatSync(path)
    if (stat.isSymbolicLink()) continue
    if (stat.isDirectory()) found.push(...textFiles(path))
    else if (stat.isFile() && stat.size > 0 && SOURCE.test(name)) found.push(path)
  }
  return found
}
