/**
 * Schemas that are built when they are first used. Each takes a twentieth of a millisecond to build, a process knows
 * some hundred and uses a few, and a bottle's start waits for all its processes.
 */
import * as z from "zod/mini"

/** The same value at each call, made at the first. */
export function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

type Members = Record<string, () => z.ZodMiniType>
type Output<M extends Members> = { [Name in keyof M]: z.infer<ReturnType<M[Name]>> }[keyof M]

export interface LazyUnion<T> {
  /** Throws for what does not fit */
  parse(value: unknown): T
  safeParse(value: unknown): z.core.util.SafeParseResult<T>
  /** Builds members before they are needed, for a process that has nothing else to do yet */
  prepare(...names: string[]): void
}

/** Messages told apart by the text of one field: `members` are named by that text. */
export function union<M extends Members>(field: string, members: M): LazyUnion<Output<M>> {
  const built = new Map<string, z.ZodMiniType>()
  const none = once(() => z.strictObject({ [field]: z.enum(Object.keys(members)) }))
  const memberOf = (value: unknown): z.ZodMiniType => {
    const name =
      typeof value === "object" && value !== null ? (value as Record<string, unknown>)[field] : undefined
    if (typeof name !== "string" || !Object.hasOwn(members, name)) return none()
    const known = built.get(name) ?? members[name]!()
    built.set(name, known)
    return known
  }
  return {
    parse: (value) => memberOf(value).parse(value) as Output<M>,
    safeParse: (value) => memberOf(value).safeParse(value) as z.core.util.SafeParseResult<Output<M>>,
    prepare: (...names) => {
      // A schema makes some of its parts when it first parses.
      for (const name of names) memberOf({ [field]: name }).safeParse({ [field]: name })
    },
  }
}
