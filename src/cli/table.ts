/** Columns of text that fit a terminal. */
import { pad, widthOf } from "../runtime/output.ts"

const GAP = "  "

/**
 * Rows with their columns aligned, at most `width` wide: the last column is cut where it has to be. Cells may be
 * coloured, but for those of the last column, which `finish` colours once they have their length.
 */
export function aligned(
  rows: readonly (readonly string[])[],
  width: number,
  finish: (text: string) => string = (text) => text,
): string[] {
  const count = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: count }, (_, column) =>
    Math.max(0, ...rows.map((row) => widthOf(row[column] ?? ""))),
  )
  return rows.map((row) => {
    const last = row.length - 1
    const before = row.slice(0, last).map((cell, column) => pad(cell, widths[column]!) + GAP)
    const room = width - before.reduce((sum, cell) => sum + widthOf(cell), 0)
    return `${before.join("")}${finish(cut(row[last] ?? "", room))}`.trimEnd()
  })
}

/** A text without colours, cut to a number of columns. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let kept = ""
  for (const character of text) {
    if (widthOf(kept + character) > width - 1) break
    kept += character
  }
  return width < 1 ? "" : `${kept}…`
}
