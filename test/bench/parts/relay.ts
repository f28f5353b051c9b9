/** inner's relay as a process of its own. argv: path of the socket it leads to. Prints its port. */
import process from "node:process"
import { startRelay } from "../../../sidecars/inner/relay.ts"

const relay = await startRelay({ port: 0, socket: process.argv[2] ?? "" })
console.log(`listening ${relay.port}`)
