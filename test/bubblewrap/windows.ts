/** Windows of a world's user: starts and joins agents in them. */
import { expect } from "bun:test"
import { DETACH, PROGRAM, type World } from "../contract/world.ts"
import { openWindow, type Window, type WindowOptions } from "./window.ts"

export interface Windows {
  /** Any program, called by the world's user from the world's folder */
  open(argv: string[], more?: Partial<WindowOptions>): Window
  /** A bash script as the agent */
  start(script: string, more?: Partial<WindowOptions>): Window
  attach(identity: string, more?: Partial<WindowOptions>): Window
}

export function windowsOf(world: () => World): Windows {
  const open = (argv: string[], more: Partial<WindowOptions> = {}) => {
    const { cwd, env, as } = world()
    return openWindow(argv, { cwd, ...as, ...more, env: { ...env, ...more.env } })
  }
  return {
    open,
    start: (script, more) => open([PROGRAM, "start", "sh", "--yes", "--", "-c", script], more),
    attach: (identity, more) => open([PROGRAM, "attach", identity], more),
  }
}

/** The identity of the only bottle that runs. */
export async function onlyIdentity(world: World): Promise<string> {
  const [, identity = ""] = (await world.ok("list", "active")).split("\t")
  expect(identity).toMatch(/^sh-[0-9a-z]{5}$/)
  return identity
}

/** Leaves an agent that was just started when its window shows the text; answers with its identity. */
export async function startAndLeave(world: World, started: Window, shown: string): Promise<string> {
  await using window = started
  await window.shows(shown)
  window.type(DETACH)
  expect(await window.exited).toBe(0)
  return await onlyIdentity(world)
}
