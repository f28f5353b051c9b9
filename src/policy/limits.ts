/** What every backend limits alike. */

/** What an agent gets when its bottle sets no limits. */
export const DEFAULT_LIMITS = { pids: 4096 }

/**
 * inner counts to the agent's limit of processes. JavaScriptCore ends its helper threads when they idle, starts them
 * anew when it wants them, and aborts when it cannot: an agent at its limit would end its own bottle. Without
 * concurrent collection and compilation, and without the thread that prepares blocks for a growing heap, inner has all
 * its threads from the beginning. The agent's own environment comes over the lifeline and has none of this.
 */
export const STEADY_THREADS = {
  BUN_JSC_useConcurrentGC: "0",
  BUN_JSC_useConcurrentJIT: "0",
  BUN_JSC_numberOfGCMarkers: "1",
  BUN_JSC_useWarmUpMarkedBlocks: "0",
}

/**
 * A gateway and its sandbox are up in the time in which JavaScriptCore would compile what ran a few hundred times by
 * then. Ten times as often, and the compiler begins when there is something to do.
 */
export const LATE_COMPILER = {
  BUN_JSC_thresholdForJITSoon: "1000",
  BUN_JSC_thresholdForJITAfterWarmUp: "5000",
}
