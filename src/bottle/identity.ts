/** The name of one start of an agent: `<agent>-<5 base36>`. */
import { randomInt } from "node:crypto"

/** Longest agent part, in characters: the whole stays at 46, which fits container names and a 63-byte host label. */
const AGENT_MAX = 40
const SUFFIX_LENGTH = 5

const IDENTITY = /^([a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)-([0-9a-z]{5})$/

export interface Identity {
  /** The whole, at most 46 characters */
  text: string
  /** Agent's name as it could be used, cut to 40 characters */
  agent: string
  /** Random part */
  suffix: string
}

/** A new identity for that agent, from the system's random numbers. */
export function mintIdentity(agentName: string): string {
  const slug = agentName
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, AGENT_MAX + 1)
    .replace(/^-+/, "")
    .slice(0, AGENT_MAX)
    .replace(/-+$/, "")
  const suffix = randomInt(36 ** SUFFIX_LENGTH)
    .toString(36)
    .padStart(SUFFIX_LENGTH, "0")
  return `${slug === "" ? "agent" : slug}-${suffix}`
}

/** The parts of an identity; undefined when the text is not one, and so must not become a path or a label. */
export function parseIdentity(text: string): Identity | undefined {
  const match = IDENTITY.exec(text)
  const [, agent, suffix] = match ?? []
  return agent === undefined || suffix === undefined ? undefined : { text, agent, suffix }
}
