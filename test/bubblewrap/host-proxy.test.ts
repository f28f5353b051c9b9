/** A proxy on this machine's loopback, as many tools set one up: the gateway leaves by it, and the sandbox does not. */
import { expect, test } from "bun:test"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { createServer } from "node:https"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { run } from "../../src/runtime/spawn.ts"
import { BUBBLEWRAP, onBackends, STAY } from "../contract/world.ts"
import { type ConnectProxy, startConnectProxy } from "../fixtures/connect-proxy.ts"
import { createTestAuthority } from "../fixtures/test-authority.ts"

const HOST = "api.example.com"

interface Service extends AsyncDisposable {
  port: number
  /** Root that its certificate leads to, PEM */
  authority: string
}

async function startService(): Promise<Service> {
  const authority = await createTestAuthority()
  const server = createServer(await authority.leaf([HOST]), (request, response) => {
    response.end(`asked for ${request.headers.host}`)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    port: (server.address() as AddressInfo).port,
    authority: authority.cert,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    },
  }
}

onBackends(BUBBLEWRAP, (world) => {
  /** A bottle that may reach the host by that proxy; `route` is added to its route. */
  async function bottleBehind(proxy: ConnectProxy, service: Service, route: string): Promise<string> {
    const roots = join(world().cwd, "roots.pem")
    writeFileSync(roots, service.authority)
    world().own(roots)
    world().manifest("sh", `egress: { routes: [{ host: ${HOST}${route} }] }`)
    return await world().detached(STAY, {
      env: {
        HTTPS_PROXY: proxy.url,
        BOTTLE_EXTRA_CA_CERTS: roots,
        BOTTLE_EXTRA_HOSTS: `${HOST}=127.0.0.1`,
      },
    })
  }

  test("carries what a route allows, and is out of the sandbox's own reach", async () => {
    await using service = await startService()
    await using proxy = await startConnectProxy({ [`${HOST}:443`]: service.port })
    const identity = await bottleBehind(proxy, service, ', private: ["127.0.0.0/8"]')
    expect(await world().inside(identity, `curl -sS https://${HOST}/`)).toBe(`asked for ${HOST}`)
    expect(proxy.asked).toEqual([`${HOST}:443`])
    const straight = ["curl", "-sS", "--insecure", "--proxy", proxy.url, `https://${HOST}/`]
    const around = await world().bottle("exec", identity, "--", ...straight)
    expect(around).toMatchObject({ code: 7, stdout: "" })
    expect(proxy.asked).toHaveLength(1)
    // The control: outside of the sandbox the same call arrives.
    expect((await run(straight)).stdout).toBe(`asked for ${HOST}`)
  })

  test("is not asked for a name whose address the route does not allow", async () => {
    await using service = await startService()
    await using proxy = await startConnectProxy({ [`${HOST}:443`]: service.port })
    const identity = await bottleBehind(proxy, service, "")
    expect(await world().inside(identity, `curl -sS https://${HOST}/`)).toContain("private-address")
    expect(proxy.asked).toEqual([])
  })
})
