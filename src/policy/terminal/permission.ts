/** What a user may allow an agent's output to do to their terminal, beyond its screen. */
export const TERMINAL_PERMISSIONS = ["clipboard", "title", "notify"] as const
export type TerminalPermission = (typeof TERMINAL_PERMISSIONS)[number]

const WORDS: Record<TerminalPermission, string> = {
  clipboard: "write the clipboard",
  title: "set the title",
  notify: "send notifications",
}

/** Permissions for people: `write the clipboard, set the title`. */
export function permissionText(allow: readonly TerminalPermission[]): string {
  return allow.map((permission) => WORDS[permission]).join(", ")
}
