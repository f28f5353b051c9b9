/** Writes ASN.1 values in their distinguished encoding (X.690), as far as certificates need it. */

/** One value: tag, length, content (X.690, 8.1). */
export function der(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  return Buffer.concat([Buffer.from([tag]), length(body.length), body])
}

/** Short form below 128, else the number of length bytes and the length (X.690, 10.1). */
function length(count: number): Buffer {
  if (count < 0x80) return Buffer.from([count])
  const hex = count.toString(16)
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), "0"), "hex")
  return Buffer.concat([Buffer.from([0x80 | bytes.length]), bytes])
}

export const sequence = (...content: Uint8Array[]): Buffer => der(0x30, ...content)
export const set = (...content: Uint8Array[]): Buffer => der(0x31, ...content)
export const octetString = (content: Uint8Array): Buffer => der(0x04, content)
/** A value behind an explicit tag of the context: `[number]`. */
export const tagged = (number: number, content: Uint8Array): Buffer => der(0xa0 | number, content)

export const TRUE: Buffer = der(0x01, Buffer.from([0xff]))

/** A number that is not negative, big-endian; a set first bit would make it negative and so gets a zero before it. */
export function integer(bytes: Uint8Array): Buffer {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1
  const digits = bytes.subarray(start)
  return (digits[0] ?? 0) < 0x80 ? der(0x02, digits) : der(0x02, Buffer.from([0]), digits)
}

/** Bits, of which the last `unused` of the last byte do not count. */
export function bitString(bytes: Uint8Array, unused = 0): Buffer {
  return der(0x03, Buffer.from([unused]), bytes)
}

/** An object identifier: `1.2.840.10045.4.3.2`. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number)
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    // Base 128, the first bit set on all but the last digit (X.690, 8.19.2).
    const digits = [arc & 0x7f]
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift(0x80 | (left & 0x7f))
    return digits
  })
  return der(0x06, Buffer.from(bytes))
}

/** Text of letters, digits, blank and '()+,-./:=? (X.680, table 10). Throws for other characters. */
export function printableString(text: string): Buffer {
  if (!/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text)) {
    throw new Error(`${JSON.stringify(text)} holds characters that a PrintableString cannot`)
  }
  return der(0x13, Buffer.from(text, "latin1"))
}

/** A time in whole seconds, UTC: with a year of two digits up to 2049, and of four after it (RFC 5280, 4.1.2.5). */
export function time(at: Date): Buffer {
  const digits = `${at
    .toISOString()
    .replace(/\.\d+Z$/, "")
    .replace(/[-:T]/g, "")}Z`
  return at.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits))
}
