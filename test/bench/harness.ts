/**
 * What all benches share: they compare things alternately in one run, take medians, and end with one JSON line and an
 * exit status that says whether every target is met.
 */

/** A figure by name; what it counts stands in the name: `rps`, `..._ms`, `..._mb` */
export type Figures = Record<string, number>

/** Bound of a figure; a figure without one is told only. */
export type Targets = Record<string, { max: number } | { min: number }>

export interface BenchResult {
  bench: string
  figures: Figures
  targets: Targets
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** Linear between the two nearest values; `q` from 0 to 1. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new Error("a quantile of nothing")
  const sorted = [...values].sort((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)]!
  const high = sorted[Math.ceil(at)]!
  return low + (high - low) * (at - Math.floor(at))
}

/**
 * Runs each subject once to warm up, then all of them alternately, `rounds` times. Which one begins changes from round
 * to round, so that none always meets the machine in the same state.
 */
export async function alternate<K extends string, T>(
  subjects: Record<K, () => Promise<T>>,
  rounds: number,
): Promise<Record<K, T[]>> {
  const names = Object.keys(subjects) as K[]
  const results = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<K, T[]>
  for (const name of names) await subjects[name]()
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length]!
      results[name].push(await subjects[name]())
    }
  }
  return results
}

/** Prints the result as one JSON line on stdout. Returns the exit status: 0, or 3 when a target is missed. */
export function report(result: BenchResult): number {
  const figures = Object.fromEntries(
    Object.entries(result.figures).map(([name, value]) => [name, round(value)]),
  )
  const missed = Object.entries(result.targets).filter(
    ([name, target]) => !meets(result.figures[name], target),
  )
  for (const [name] of missed) console.error(`missed: ${name} is ${figures[name]}`)
  const pass = missed.length === 0
  console.log(JSON.stringify({ bench: result.bench, pass, figures, targets: result.targets }))
  return pass ? 0 : 3
}

function meets(figure: number | undefined, target: { max: number } | { min: number }): boolean {
  if (figure === undefined || Number.isNaN(figure)) return false
  return "max" in target ? figure <= target.max : figure >= target.min
}

function round(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}
