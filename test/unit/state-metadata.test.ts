import { expect, test } from "bun:test"
import { formatMetadata, parseMetadata } from "../../src/bottle/metadata.ts"
import { BottleError } from "../../src/runtime/error.ts"
import { someMetadata } from "../fixtures/metadata.ts"

const ID = "dev-abc12"

async function faultOf(text: string): Promise<BottleError> {
  try {
    parseMetadata(text, "metadata.json")
  } catch (error) {
    if (error instanceof BottleError) return error
  }
  throw new Error("the text was accepted")
}

test("metadata survives being written and read", async () => {
  for (const over of [{}, { workspace: { mode: "empty" } as const }, { phase: "running" } as const]) {
    const value = await someMetadata(ID, over)
    expect(parseMetadata(formatMetadata(value), "metadata.json")).toEqual(value)
  }
})

test("metadata of a newer schema is refused with the advice to use the newer program", async () => {
  const text = JSON.stringify({ ...(await someMetadata(ID)), version: 2, something: "new" })
  const error = await faultOf(text)
  expect(error.what).toContain("written by a newer bottle")
  expect(error.next).toBe("Use the newer bottle for it")
})

test.each([
  ["version", { version: 0 }],
  ["identity", { identity: "../../etc" }],
  ["workspace.source", { workspace: { mode: "copy", source: "relative" } }],
  ["started_at", { started_at: "yesterday" }],
  ["owner.pid", { owner: { pid: 0, start_time: "1", boot_id: "b", pid_namespace: "" } }],
  ["phase", { phase: "thinking" }],
])("a wrong %s is named", async (path, over) => {
  const error = await faultOf(JSON.stringify({ ...(await someMetadata(ID)), ...over }))
  expect(error.why).toStartWith(`${path}: `)
})

test("text that is not an object, or not JSON, is a fault that people can read", async () => {
  for (const text of ["", "null", "[]", "{", '"x"']) {
    expect((await faultOf(text)).what).toBe("metadata.json cannot be read")
  }
})

test("what could not be read back is not written", async () => {
  const value = await someMetadata(ID, { started_at: "yesterday", phase: "running" })
  expect(() => formatMetadata(value)).toThrow()
})
