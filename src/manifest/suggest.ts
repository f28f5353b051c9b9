/** "Did you mean": the allowed word nearest to a misspelt one. */

/** The nearest of the words, when it is near enough to be meant. */
export function nearest(word: string, allowed: readonly string[]): string | undefined {
  const folded = fold(word)
  let best: string | undefined
  // Two letters, or a third of a long word, may be wrong: more makes suggestions that annoy.
  let bestDistance = (folded.length < 4 ? 1 : Math.max(2, Math.floor(folded.length / 3))) + 1
  for (const candidate of allowed) {
    const distance = editDistance(folded, fold(candidate), bestDistance)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** ` (did you mean "x"?)`, or nothing. */
export function didYouMean(word: string, allowed: readonly string[]): string {
  const meant = nearest(word, allowed)
  return meant === undefined ? "" : `; did you mean "${meant}"?`
}

/** Words in the spelling `a, b, c`; `none` when there are none. */
export function listed(words: Iterable<string>): string {
  const sorted = [...words].sort()
  return sorted.length === 0 ? "none" : sorted.join(", ")
}

function fold(word: string): string {
  // A key of a megabyte must not cost a megabyte squared.
  return word.slice(0, 64).toLowerCase().replaceAll("-", "_")
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment), up to `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let distance = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, rows[i - 2]![j - 2]! + 1)
      }
      row.push(distance)
    }
    rows.push(row)
  }
  return Math.min(limit, rows[a.length]![b.length]!)
}
