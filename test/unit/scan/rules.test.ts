/** Every rule finds what it is for, wherever it stands, and nothing else. */
import { describe, expect, test } from "bun:test"
import { randomUUID } from "node:crypto"
import type { Finding } from "../../../src/policy/scan/finding.ts"
import { DEFAULT_RULES, defaultRuleset } from "../../../src/policy/scan/rules/default.ts"
import { compile } from "../../../src/policy/scan/scanner.ts"
import {
  ALNUM,
  characters,
  DIGITS,
  jsonWebToken,
  LOWER_HEX,
  plant,
  privateKey,
  URL64,
} from "../../fixtures/planted-secret.ts"

const scanner = compile(defaultRuleset(), [])

function inText(text: string): Finding[] {
  return scanner.text({ part: "body" }, Buffer.from(text))
}

function inBody(text: string, contentType = "application/json"): Finding[] {
  const body = scanner.body(contentType, "")
  return [...body.push(Buffer.from(text)).findings, ...body.end().findings]
}

function inHead(parts: { path?: string; query?: string; value?: string; userinfo?: string }): Finding[] {
  return scanner.head({
    ...(parts.userinfo === undefined ? {} : { userinfo: parts.userinfo }),
    host: "api.example.com",
    path: parts.path ?? "/",
    query: parts.query ?? "",
    headers: [
      ["Accept", "*/*"],
      ["X-Note", parts.value ?? ""],
    ],
  })
}

const rulesOf = (findings: readonly Finding[]) => findings.map((finding) => finding.rule)

test("rules have names of their own", () => {
  const ids = DEFAULT_RULES.map((rule) => rule.id)
  expect(new Set(ids).size).toBe(ids.length)
})

describe("every rule finds its secret in every place", () => {
  for (const rule of DEFAULT_RULES) {
    test(rule.id, () => {
      const text = plant(rule)
      const json = JSON.stringify({ role: "user", content: `see: ${text} :end` })
      const encoded = encodeURIComponent(text)
      const found = {
        text: rulesOf(inText(`a ${text} b`)),
        alone: rulesOf(inText(text)),
        json: rulesOf(inBody(json)),
        path: rulesOf(inHead({ path: `/a/${encoded}/b` })),
        userinfo: rulesOf(inHead({ userinfo: `user:${encoded}` })),
        query: rulesOf(inHead({ query: `a=1&b=${encoded}&c=2` })),
        header: rulesOf(inHead({ value: JSON.stringify(text).slice(1, -1) })),
        part: rulesOf(
          inBody(
            `--b\r\nContent-Type: text/plain\r\n\r\n${text}\r\n--b--\r\n`,
            "multipart/mixed; boundary=b",
          ),
        ),
        form: rulesOf(inBody(`a=1&b=${encoded}`, "application/x-www-form-urlencoded")),
        base64: rulesOf(inBody(JSON.stringify({ data: Buffer.from(`x${text}`).toString("base64") }))),
      }
      for (const [place, rules] of Object.entries(found))
        expect([place, rules]).toEqual([place, rules.includes(rule.id) ? rules : [rule.id]])
    })
  }
})

test("no finding holds the value, nor more of it than its public prefix", () => {
  for (const rule of DEFAULT_RULES) {
    const text = plant(rule)
    for (const finding of inText(text)) {
      const shown = finding.redacted.slice(0, finding.redacted.indexOf("…"))
      expect(
        rule.keywords.concat(
          DEFAULT_RULES.flatMap((one) => one.keywords),
          "",
        ),
      ).toContain(shown.toLowerCase())
      expect(finding.hash).toMatch(/^[0-9a-f]{16}$/)
    }
  }
})

/** What the services themselves hand out, by their public descriptions and not by the rules. */
const HANDED_OUT: readonly (readonly [rule: string, make: () => string])[] = [
  ["aws-access-key-id", () => `AK${"IA"}${characters("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)}`],
  ["aws-access-key-id", () => `AS${"IA"}${characters("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)}`],
  [
    "aws-secret-access-key",
    () => `aws_secret_access_key = ${characters(ALNUM, 12)}aB3${characters(`${ALNUM}+/`, 24)}x`,
  ],
  ["aws-secret-access-key", () => `AWS_SECRET_ACCESS_KEY="${characters(ALNUM, 37)}aB3"`],
  ["gcp-api-key", () => `AI${"za"}Sy${characters(URL64, 33)}`],
  [
    "gcp-service-account",
    () => JSON.stringify({ type: "service_account", private_key_id: characters(LOWER_HEX, 40) }, null, 2),
  ],
  [
    "azure-storage-key",
    () => `DefaultEndpointsProtocol=https;AccountName=x;AccountKey=${characters(ALNUM, 86)}==;`,
  ],
  ["azure-ad-client-secret", () => `${characters(ALNUM, 3)}8Q~${characters(ALNUM, 34)}`],
  ["digitalocean-token", () => `dop_${"v1"}_${characters(LOWER_HEX, 64)}`],
  ["cloudflare-api-token", () => `CLOUDFLARE_API_TOKEN=${characters(URL64, 38)}a1`],
  ["github-pat", () => `gh${"p"}_${characters(ALNUM, 36)}`],
  ["github-oauth-token", () => `gh${"o"}_${characters(ALNUM, 36)}`],
  ["github-app-token", () => `gh${"s"}_${characters(ALNUM, 36)}`],
  ["github-refresh-token", () => `gh${"r"}_${characters(ALNUM, 76)}`],
  ["github-fine-grained-pat", () => `github_${"pat"}_${characters(ALNUM, 22)}_${characters(ALNUM, 59)}`],
  ["gitlab-pat", () => `gl${"pat"}-${characters(URL64, 20)}`],
  ["gitlab-pat", () => `gl${"pat"}-${characters(URL64, 27)}.01.${characters(LOWER_HEX, 9)}`],
  ["npm-token", () => `np${"m"}_${characters(ALNUM, 36)}`],
  ["npm-auth-token", () => `//registry.example.com/:_authToken=${randomUUID()}`],
  ["pypi-token", () => `py${"pi"}-AgEIcHlwaS5vcmc${characters(URL64, 150)}`],
  ["rubygems-token", () => `ruby${"gems"}_${characters(LOWER_HEX, 48)}`],
  ["anthropic-api-key", () => `sk-${"ant"}-api03-${characters(URL64, 93)}AA`],
  ["anthropic-oauth-token", () => `sk-${"ant"}-oat01-${characters(URL64, 93)}AA`],
  ["openai-api-key", () => `sk-${"proj"}-${characters(URL64, 120)}`],
  ["openai-legacy-api-key", () => `s${"k"}-${characters(ALNUM, 20)}T3Blbk${"FJ"}${characters(ALNUM, 20)}`],
  [
    "huggingface-token",
    () => `h${"f"}_${characters("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 34)}`,
  ],
  [
    "slack-bot-token",
    () => `xox${"b"}-${characters(DIGITS, 12)}-${characters(DIGITS, 13)}-${characters(ALNUM, 24)}`,
  ],
  [
    "slack-webhook",
    () =>
      `https://hooks.slack${".com"}/services/T${characters(ALNUM, 10)}/B${characters(ALNUM, 10)}/${characters(ALNUM, 24)}`,
  ],
  [
    "discord-bot-token",
    () =>
      `Bot ${Buffer.from(`1${characters(DIGITS, 17)}`).toString("base64url")}.${characters(ALNUM, 6)}.${characters(ALNUM, 38)}`,
  ],
  ["telegram-bot-token", () => `${characters("123456789", 10)}:A${"A"}${characters(URL64, 33)}`],
  ["stripe-key", () => `sk_${"live"}_${characters(ALNUM, 24)}`],
  ["twilio-api-key", () => `S${"K"}${characters(LOWER_HEX, 32)}`],
  ["sendgrid-api-key", () => `S${"G"}.${characters(URL64, 22)}.${characters(URL64, 43)}`],
  ["heroku-api-key-uuid", () => `heroku_api_key: "${randomUUID()}"`],
  ["hashicorp-vault-token", () => `hv${"s"}.${characters(URL64, 95)}`],
  ["databricks-token", () => `dap${"i"}${characters(LOWER_HEX, 32)}`],
  ["shopify-token", () => `shp${"at"}_${characters(LOWER_HEX, 32)}`],
  ["private-key", privateKey],
  ["private-key", () => JSON.stringify(privateKey())],
  ["private-key", () => JSON.stringify(JSON.stringify({ key: privateKey() }))],
  ["jwt", jsonWebToken],
  ["connection-string", () => `postgres${"ql"}://app:${characters(ALNUM, 14)}9z@db.internal:5432/app`],
  ["connection-string", () => `mongodb${"+srv"}://app:${characters(ALNUM, 14)}9z@cluster0.abcde.mongodb.net`],
  ["basic-auth-url", () => `https${"://"}deploy:${characters(ALNUM, 16)}9z@git.example.com/x.git`],
  ["datadog-key", () => `DD_API_KEY=${characters(LOWER_HEX, 31)}a`],
  ["linear-api-key", () => `lin_${"api"}_${characters(ALNUM, 40)}`],
  ["notion-token", () => `nt${"n"}_${characters(ALNUM, 46)}`],
  ["sentry-token", () => `snt${"rys"}_${characters(ALNUM, 100)}`],
  ["age-secret-key", () => `AGE-SECRET-${"KEY"}-1${characters("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)}`],
  [
    "telegram-bot-token",
    () =>
      `https://api.telegram.org/bot${characters("123456789", 10)}:A${"A"}${characters(URL64, 33)}/sendMessage`,
  ],
]

describe("what services hand out is found", () => {
  HANDED_OUT.forEach(([rule, make], i) => {
    test(`${i + 1}: ${rule}`, () => {
      for (let times = 0; times < 4; times++) expect(rulesOf(inText(`key: ${make()}\n`))).toContain(rule)
    })
  })
})

test("what only looks like a secret is not blocked", () => {
  const harmless = [
    `gh${"p"}_${"x".repeat(36)}`,
    `gh${"p"}_${characters(ALNUM, 20)}`,
    `AK${"IA"}IOSFODNN7EXAMPLE`,
    `sk_${"live"}_...`,
    "https://user:password@example.com/",
    "postgres://postgres:postgres@localhost/test",
    "https://example.com:8080/@scope/package",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUK\n-----END CERTIFICATE-----",
    "eyJhbGciOiJIUzI1NiJ9",
    `sha512-${characters(ALNUM, 86)}==`,
    `"integrity": "sha256-${characters(ALNUM, 43)}="`,
    `commit ${characters(LOWER_HEX, 40)}`,
    randomUUID(),
    "task-management-and-disk-usage-reporting-for-everyone",
    `aws s3 cp s3://bucket/${characters(LOWER_HEX, 64)} .`,
    "card: 4111 1111 1111 1112",
    "const token = process.env.API_TOKEN",
  ]
  for (const text of harmless) {
    const blocked = inText(text).filter((finding) => finding.severity === "block")
    expect([text, rulesOf(blocked)]).toEqual([text, []])
  }
})

test("seed phrases are found only where they are asked for", () => {
  // The phrase of 128 zero bits, which BIP-39 itself prints.
  const phrase = `${"abandon ".repeat(11)}about`
  expect(rulesOf(inText(phrase))).toEqual([])
  const asked = compile(defaultRuleset({ seedPhrases: true }), [])
  expect(rulesOf(asked.text({ part: "body" }, Buffer.from(`words: ${phrase}.`)))).toEqual([
    "bip39-seed-phrase",
  ])
  const listed = phrase
    .split(" ")
    .map((word, i) => `${i + 1}. ${word}`)
    .join("\n")
  expect(rulesOf(asked.text({ part: "body" }, Buffer.from(listed)))).toEqual(["bip39-seed-phrase"])
  const wrong = `${"abandon ".repeat(11)}zoo`
  expect(rulesOf(asked.text({ part: "body" }, Buffer.from(wrong)))).toEqual([])
})
