/** Checks that a pattern cannot express: sums, entropy, and what tells a real value from a documentation's. */
import type { CheckName } from "./rule.ts"

/** Shannon's entropy of a text, in bits per character. */
export function entropy(text: string): number {
  const counts = new Map<number, number>()
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    counts.set(c, (counts.get(c) ?? 0) + 1)
  }
  let bits = 0
  for (const count of counts.values()) {
    const share = count / text.length
    bits -= share * Math.log2(share)
  }
  return bits
}

/** ISO/IEC 7812-1 annex B. `digits` holds nothing else. */
export function luhn(digits: string): boolean {
  let sum = 0
  for (let i = 0; i < digits.length; i++) {
    const value = digits.charCodeAt(digits.length - 1 - i) - 0x30
    const doubled = value * 2
    sum += i % 2 === 0 ? value : doubled > 9 ? doubled - 9 : doubled
  }
  return sum % 10 === 0
}

/** Words by which documentation and tests say that a value is none. */
const PLACEHOLDER =
  /example|placeholder|changeme|change-me|password|passwd|secret|dummy|sample|redacted|your[-_]?|x{4}|\*{3}|0{6}|1234|abcd|\.\.\.|<|>|\$\{|\{\{|%s|%\(|test|foobar/i

/** Whether each of letters and digits is there, as in nearly every random value and in few words. */
function mixed(value: string): boolean {
  return /[0-9]/.test(value) && /[A-Za-z]/.test(value) && !/^(.{1,4})\1{3,}/.test(value)
}

/** A real password in a URL or an assignment, as against `user:pass@host` in a manual. */
function password(value: string): boolean {
  if (value.length < 6 || PLACEHOLDER.test(value)) return false
  // Ports, versions and plain words are what manuals have there.
  return /[0-9]/.test(value) && /[A-Za-z]/.test(value) && entropy(value) >= 2.5
}

/** RFC 7519: the header is a JSON object that names an algorithm. */
function jwt(value: string): boolean {
  const head = value.slice(0, value.indexOf("."))
  try {
    const decoded: unknown = JSON.parse(Buffer.from(head, "base64url").toString("utf8"))
    return typeof decoded === "object" && decoded !== null && ("alg" in decoded || "enc" in decoded)
  } catch {
    return false
  }
}

/** RFC 7468: what stands between the lines of a private key is base64 of at least the smallest key. */
function pem(value: string): boolean {
  const body = value.replace(/^-+BEGIN[^-]*-+/, "").replace(/\\[nr]|[\s"',+]|-+END.*$/g, "")
  return body.length >= PEM_BODY_MIN && entropy(body.slice(0, 512)) >= 3.5
}

/** An Ed25519 key in PKCS #8 (RFC 8410) is 48 bytes, 64 characters: the smallest in use. */
const PEM_BODY_MIN = 60

/** Amazon's manuals end their identifiers so. */
function awsId(value: string): boolean {
  return !value.endsWith("EXAMPLE") && entropy(value) >= 3
}

/** Forty characters with all three kinds, which a hash in hexadecimal and a path do not have. */
function awsSecret(value: string): boolean {
  return (
    /[a-z]/.test(value) &&
    /[A-Z]/.test(value) &&
    /[0-9]/.test(value) &&
    !value.toUpperCase().includes("EXAMPLE")
  )
}

function card(value: string): boolean {
  const digits = value.replace(/[ -]/g, "")
  return new Set(digits).size >= 4 && luhn(digits)
}

/** ISO 13616: country and sum moved to the end, letters as numbers, the rest of the division by 97 is 1. */
function iban(value: string): boolean {
  const plain = value.replace(/ /g, "").toUpperCase()
  const moved = plain.slice(4) + plain.slice(0, 4)
  let rest = 0
  for (const character of moved) {
    const part = Number.parseInt(character, 36)
    rest = (rest * (part > 9 ? 100 : 10) + part) % 97
  }
  return rest === 1
}

/** Areas, groups and serials that were never given out. */
function usSsn(value: string): boolean {
  const [area = "", group, serial] = value.split("-")
  return area !== "000" && area !== "666" && area < "900" && group !== "00" && serial !== "0000"
}

export const CHECKS: Readonly<Record<CheckName, (value: string) => boolean>> = {
  "aws-id": awsId,
  "aws-secret": awsSecret,
  card,
  iban,
  jwt,
  mixed,
  password,
  pem,
  "us-ssn": usSsn,
}
