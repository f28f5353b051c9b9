#!/usr/bin/env bun
/**
 * The root command: finds the verb, runs it, and is the one place that prints an error and sets the exit status. Verbs
 * are imported when they are called, so that none pays for another's start.
 */
import { VERSION } from "./cli/version.ts"

const argv = process.argv.slice(2)

// scripts/bottle starts us in the project's folder, out of reach of files that lie in the user's.
if (process.env.BOTTLE_CALLER_CWD) {
  process.chdir(process.env.BOTTLE_CALLER_CWD)
  delete process.env.BOTTLE_CALLER_CWD
}

if (argv[0] === "--version" || argv[0] === "-v") {
  // Not process.stdout: its stream alone takes as long to set up as all of the rest.
  console.log(VERSION)
} else {
  const { runCli } = await import("./cli/run.ts")
  process.exitCode = await runCli(argv)
}
