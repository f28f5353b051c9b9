/** What does not fit a schema, in words for people: zod's small form brings none of its own. */
import type * as z from "zod/mini"
import en from "zod/v4/locales/en.js"

/** Options for `safeParse` whose outcome `schemaFault` tells. */
export const IN_ENGLISH = { error: en().localeError }

/** The first fault: where, and what is wrong with it. `whole` is the name of the value itself. */
export function schemaFault(error: z.core.$ZodError, whole: string): string {
  const issue = error.issues[0]
  return `${issue?.path.join(".") || whole}: ${issue?.message ?? "does not fit the schema"}`
}
