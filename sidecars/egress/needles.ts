/** The byte strings a secret can come back as: each encoding that the scrubber promises to find. */

/** Shortest secret that is looked for, in UTF-8 bytes: shorter ones would match ordinary traffic. */
export const SECRET_MIN_BYTES = 8

/**
 * All spellings of one secret, without duplicates: raw; percent-encoded (as `encodeURI`, `encodeURIComponent`, RFC 3986
 * and HTML forms write it, and with every byte escaped); base64 and base64url at each of the three offsets, only the
 * characters that the secret alone decides; hexadecimal; JSON (minimal, `\/`, ASCII only, HTML-safe, every character
 * escaped); HTML entities; UTF-16 in both byte orders. Escapes come in both cases.
 * Returns nothing for a secret under SECRET_MIN_BYTES.
 */
export function spellings(secret: string): Uint8Array[] {
  const bytes = Buffer.from(secret, "utf8")
  if (bytes.length < SECRET_MIN_BYTES) return []
  const texts = new Set<string>([...percentForms(secret, bytes), ...jsonForms(secret), ...htmlForms(secret)])
  for (const text of byteForms(bytes)) texts.add(text)
  texts.add(secret)
  const needles: Uint8Array[] = []
  if (/^[\u0000-\u00ff]*[\u0080-\u00ff][\u0000-\u00ff]*$/.test(secret)) {
    // Header values are written one byte a character, so that is what an upstream got and may repeat.
    const narrow = Buffer.from(secret, "latin1")
    for (const text of byteForms(narrow)) texts.add(text)
    needles.push(new Uint8Array(narrow))
  }
  for (const text of texts) needles.push(new Uint8Array(Buffer.from(text, "utf8")))
  const wide = Buffer.from(secret, "utf16le")
  needles.push(new Uint8Array(wide), new Uint8Array(Buffer.from(wide).swap16()))
  return needles
}

/** What encodings of bytes make of them: percent with every byte escaped, base64, hexadecimal. */
function byteForms(bytes: Buffer): string[] {
  const hex = bytes.toString("hex")
  const percent = hex.replace(/../g, "%$&")
  return [percent, percent.toUpperCase(), ...base64Forms(bytes), hex, hex.toUpperCase()]
}

function percentForms(secret: string, bytes: Buffer): string[] {
  const forms: string[] = []
  // A lone surrogate has no percent-encoding; the bytes above are what UTF-8 encoders make of it.
  const text = bytes.toString("utf8")
  const component = encodeURIComponent(text)
  const strict = component.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  const form = strict.replace(/%20/g, "+").replace(/%2A/g, "*").replace(/~/g, "%7E")
  for (const upper of [component, strict, strict.replace(/%20/g, "+"), form, encodeURI(text)]) {
    forms.push(upper, lowerEscapes(upper, /%[0-9A-F]{2}/g))
  }
  return secret === text ? forms : [...forms, secret]
}

function base64Forms(bytes: Buffer): string[] {
  const forms: string[] = []
  for (let offset = 0; offset < 3; offset++) {
    const padded = Buffer.concat([Buffer.alloc(offset), bytes])
    // A base64 character holds 6 bits; those that share bits with a neighbour of the secret are left out.
    const from = Math.ceil((offset * 8) / 6)
    const to = Math.floor((padded.length * 8) / 6)
    forms.push(padded.toString("base64").slice(from, to), padded.toString("base64url").slice(from, to))
  }
  return forms
}

function jsonForms(secret: string): string[] {
  const minimal = JSON.stringify(secret).slice(1, -1)
  const forms: string[] = [escapeUnits(secret)]
  for (const base of [minimal, minimal.replaceAll("/", "\\/")]) {
    for (const text of [base, base.replace(/[\u007f-\uffff]/g, unicodeEscape)]) {
      // Go escapes <, > and & by default; PHP's JSON_HEX_* options and Rails take the quotes too.
      const page = text.replace(/[<>&]/g, unicodeEscape)
      forms.push(
        text,
        page,
        page.replace(/\\"|'/g, (found) => unicodeEscape(found.slice(-1))),
      )
    }
  }
  return forms.flatMap((form) => [form, upperEscapes(form)])
}

function escapeUnits(text: string): string {
  let out = ""
  for (let i = 0; i < text.length; i++) out += unicodeEscape(text.charAt(i))
  return out
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
}

function upperEscapes(text: string): string {
  return text.replace(/\\\\|\\u[0-9a-f]{4}/g, (found) =>
    found === "\\\\" ? found : `\\u${found.slice(2).toUpperCase()}`,
  )
}

function lowerEscapes(text: string, escapes: RegExp): string {
  return text.replace(escapes, (found) => found.toLowerCase())
}

function htmlForms(secret: string): string[] {
  const basic = secret.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
  const quoted = basic.replaceAll('"', "&quot;")
  const numeric = basic.replaceAll('"', "&#34;").replaceAll("'", "&#39;")
  return [basic, quoted, numeric, quoted.replaceAll("'", "&#39;"), quoted.replaceAll("'", "&#x27;")]
}
