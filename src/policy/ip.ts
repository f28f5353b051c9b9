/** IP addresses as bytes: reading their text forms and printing the one canonical form. */

/** An address in network byte order: 4 bytes for IPv4, 16 for IPv6 */
export type IpBytes = Uint8Array

/** Reads strict dotted-quad IPv4: four decimal numbers, no leading zeros (RFC 6943 section 3.1.1 names the loose forms). */
export function parseIpv4(text: string): IpBytes | undefined {
  if (text.length < 7 || text.length > 15) return undefined
  const bytes = new Uint8Array(4)
  let octet = 0
  let digits = 0
  let value = 0
  for (let i = 0; i <= text.length; i++) {
    const c = i === text.length ? 0x2e : text.charCodeAt(i)
    if (c === 0x2e) {
      if (digits === 0 || octet === 4) return undefined
      bytes[octet++] = value
      digits = 0
      value = 0
    } else {
      if (c < 0x30 || c > 0x39 || (digits > 0 && value === 0)) return undefined
      value = value * 10 + c - 0x30
      digits++
      if (value > 255) return undefined
    }
  }
  return octet === 4 ? bytes : undefined
}

/**
 * Reads IPv4 the way `inet_aton` and the URL Standard do: one to four parts, each decimal, octal (`0177`) or
 * hexadecimal (`0x7f`), the last one filling the bytes that remain. The C library dials these spellings, so a check
 * that takes them for names would be passed by `http://0x7f.1/`.
 */
export function parseLooseIpv4(text: string): IpBytes | undefined {
  const parts = text.split(".", 5)
  if (parts.length > 4) return undefined
  const numbers: number[] = []
  for (const part of parts) {
    const value = looseNumber(part)
    if (value === undefined) return undefined
    numbers.push(value)
  }
  const last = numbers.pop() as number
  if (numbers.some((n) => n > 255) || last >= 256 ** (4 - numbers.length)) return undefined
  let value = last
  for (let i = 0; i < numbers.length; i++) value += (numbers[i] as number) * 256 ** (3 - i)
  return new Uint8Array([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255])
}

function looseNumber(part: string): number | undefined {
  if (/^0x[0-9a-f]*$/i.test(part)) return part.length === 2 ? 0 : Number(part)
  if (/^0[0-7]*$/.test(part)) return Number.parseInt(part, 8)
  return /^[1-9][0-9]*$/.test(part) ? Number(part) : undefined
}

/** Reads IPv6 in any form of RFC 4291 section 2.2, without brackets and without a zone. */
export function parseIpv6(text: string): IpBytes | undefined {
  if (text.length < 2 || text.length > 45) return undefined
  const gap = text.indexOf("::")
  if (gap !== -1 && text.indexOf("::", gap + 1) !== -1) return undefined
  const head = gap === -1 ? text : text.slice(0, gap)
  const tail = gap === -1 ? "" : text.slice(gap + 2)
  const front = groups(head, gap === -1)
  const back = groups(tail, true)
  if (front === undefined || back === undefined) return undefined
  const total = front.length + back.length
  if (gap === -1 ? total !== 16 : total > 14) return undefined
  const bytes = new Uint8Array(16)
  bytes.set(front, 0)
  bytes.set(back, 16 - back.length)
  return bytes
}

/** Bytes of `a:b:c`, the last group in dotted-quad form when `mixed`. */
function groups(text: string, mixed: boolean): number[] | undefined {
  if (text === "") return []
  const bytes: number[] = []
  const parts = text.split(":")
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as string
    if (mixed && i === parts.length - 1 && part.includes(".")) {
      const quad = parseIpv4(part)
      if (quad === undefined) return undefined
      bytes.push(...quad)
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(part)) return undefined
      const value = Number.parseInt(part, 16)
      bytes.push(value >> 8, value & 255)
    }
  }
  return bytes
}

/** Reads an address in strict form, IPv6 without brackets. */
export function parseIp(text: string): IpBytes | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text)
}

/**
 * Prints the canonical text: dotted-quad, or RFC 5952 (lower case, longest run of zeros as `::`, IPv4-mapped
 * addresses in mixed notation as its section 5 recommends), without brackets.
 */
export function formatIp(bytes: IpBytes): string {
  if (bytes.length === 4) return bytes.join(".")
  const groups: number[] = []
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] as number) << 8) | (bytes[i + 1] as number))
  if (groups[5] === 0xffff && groups.slice(0, 5).every((g) => g === 0)) {
    return `::ffff:${bytes.subarray(12).join(".")}`
  }
  const { start, length } = longestZeros(groups)
  const hex = groups.map((g) => g.toString(16))
  if (length < 2) return hex.join(":")
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`
}

/** The first longest run of zero groups (RFC 5952 section 4.2.3). */
function longestZeros(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  for (let i = 0; i < groups.length; i++) {
    let end = i
    while (end < groups.length && groups[end] === 0) end++
    if (end - i > best.length) best = { start: i, length: end - i }
    if (end > i) i = end
  }
  return best
}
