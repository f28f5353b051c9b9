/** init's socket for sessions against an agent, who may connect to it as often as it likes and say anything. */
import { expect, test } from "bun:test"
import { once } from "node:events"
import { createConnection } from "node:net"
import { join } from "node:path"
import { SessionBroker } from "../../sidecars/init/session-broker.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

test.each([
  ["as many characters as a token in more bytes", JSON.stringify({ token: "é".repeat(32) })],
  ["a token of another length", JSON.stringify({ token: "0".repeat(31) })],
  ["no token", "{}"],
  ["no JSON", "token"],
])("whoever shows %s is closed, and the session still comes", async (_, shown) => {
  using folder = temporaryFolder()
  const path = join(folder.path, "session.sock")
  using broker = new SessionBroker(path)
  await broker.listen()
  const asked = Promise.withResolvers<string>()
  const session = broker.open((token) => {
    asked.resolve(token)
    return true
  })
  const stranger = createConnection(path)
  stranger.write(`${shown}\n`)
  stranger.resume()
  await once(stranger, "close")
  const inner = createConnection(path)
  inner.write(`${JSON.stringify({ token: await asked.promise })}\nfirst words`)
  const [words] = await once((await session).resume(), "data")
  expect(String(words)).toBe("first words")
  inner.destroy()
})
