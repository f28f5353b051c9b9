import { describe, expect, test } from "bun:test"
import { mkdir, mkdtemp, rm, truncate, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { extract } from "tar-stream"
import { proxyVariables, stepOf, tarOf } from "../../src/image/build.ts"
import { folderHash } from "../../src/image/folder-hash.ts"
import { imageContext, sidecarBundle } from "../../src/runtime/assets.ts"
import { BottleError } from "../../src/runtime/error.ts"

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), "image-"))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

describe("a line of a build", () => {
  test("that starts a long step becomes a short line", () => {
    expect(stepOf("#12 [bun 4/5] RUN --mount=type=secret,id=extra_ca sh /fetch/npm-install.sh")).toBe(
      "[bun 4/5] RUN sh /fetch/npm-install.sh",
    )
    expect(stepOf("#4 [stage-1 1/4] FROM docker.io/library/node:22")).toBe(
      "[stage-1 1/4] FROM docker.io/library/node:22",
    )
    expect(stepOf(`#9 [2/2] RUN ${"x".repeat(500)}`)!.length).toBe(96)
  })

  test("of any other kind is left out", () => {
    for (const line of [
      "#12 DONE 3.1s",
      "#12 0.345 added 1 package",
      "#1 [internal] load build definition",
      "",
    ]) {
      expect(stepOf(line)).toBeUndefined()
    }
  })
})

test("a context becomes the same tar each time, with every file in it", async () => {
  const files = { "x/Dockerfile": "FROM a\n", "sidecar/inner.js": "x".repeat(100_000), "é.txt": "ü" }
  const tar = await tarOf(files)
  expect(await tarOf(Object.fromEntries(Object.entries(files).reverse()))).toEqual(tar)
  const found: Record<string, string> = {}
  const reader = extract()
  reader.on("entry", async (header, stream, next) => {
    found[header.name] = Buffer.concat(await Readable.from(stream).toArray()).toString()
    next()
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  reader.on("finish", resolve)
  reader.on("error", reject)
  reader.end(tar)
  await promise
  expect(found).toEqual(files)
})

test("a build is told of proxies that it can reach, by name alone", () => {
  expect(proxyVariables({})).toEqual([])
  expect(proxyVariables({ NO_PROXY: "x" })).toEqual([])
  expect(proxyVariables({ HTTPS_PROXY: "http://proxy.corp:3128", no_proxy: "x" })).toEqual([
    "HTTPS_PROXY",
    "no_proxy",
  ])
  for (const own of ["http://localhost:1", "127.0.0.1:3128", "http://me:pw@127.0.0.1:1", "http://[::1]:1"]) {
    expect(proxyVariables({ HTTPS_PROXY: own })).toEqual([])
  }
})

describe("the listing of a Dockerfile's folder", () => {
  test("changes with a file's content or name, and not with its time or .git", async () => {
    await using folder = await temporaryFolder()
    const dockerfile = join(folder.path, "Dockerfile")
    const at = new Date(1_700_000_000_000)
    const put = async (name: string, text: string, time = at) => {
      await writeFile(join(folder.path, name), text)
      await utimes(join(folder.path, name), time, time)
    }
    await put("Dockerfile", "FROM a\nCOPY . /x\n")
    await put("a", "1")
    const first = await folderHash(dockerfile)
    await mkdir(join(folder.path, ".git"))
    await put(".git/HEAD", "x")
    expect(await folderHash(dockerfile)).toBe(first)
    await put("a", "12")
    const longer = await folderHash(dockerfile)
    expect(longer).not.toBe(first)
    await put("a", "12", new Date(1_700_000_001_000))
    expect(await folderHash(dockerfile)).toBe(longer)
    await put("a", "34")
    expect(await folderHash(dockerfile)).not.toBe(longer)
    await put("a", "12")
    await put("b", "")
    expect(await folderHash(dockerfile)).not.toBe(longer)
  })

  test("of much content goes by size and time", async () => {
    await using folder = await temporaryFolder()
    const large = join(folder.path, "large")
    await writeFile(large, "")
    await truncate(large, 64 * 1024 * 1024)
    await utimes(large, 1, 1)
    const first = await folderHash(join(folder.path, "Dockerfile"))
    expect(await folderHash(join(folder.path, "Dockerfile"))).toBe(first)
    await utimes(large, 2, 2)
    expect(await folderHash(join(folder.path, "Dockerfile"))).not.toBe(first)
  })

  test("of more entries than a build context should have ends with advice", async () => {
    await using folder = await temporaryFolder()
    for (const name of ["Dockerfile", "a", "b"]) await writeFile(join(folder.path, name), "")
    expect(await folderHash(join(folder.path, "Dockerfile"), 3)).toBeString()
    const error = await folderHash(join(folder.path, "Dockerfile"), 2).catch((thrown) => thrown)
    expect(error).toBeInstanceOf(BottleError)
    expect(error.next).toContain("folder of its own")
  })
})

describe("what an image is built from", () => {
  for (const name of ["claude", "command", "inner", "gateway"] as const) {
    test(`${name} has its Dockerfile, and every file that it copies`, async () => {
      const context = await imageContext(name)
      const dockerfile = context[`${name}/Dockerfile`]!
      for (const line of dockerfile.split("\n").filter((one) => /^COPY (?!.*--from=)/.test(one))) {
        const sources = line
          .split(" ")
          .slice(1, -1)
          .filter((word) => !word.startsWith("--"))
        expect(sources.length).toBeGreaterThan(0)
        for (const source of sources) {
          expect(Object.keys(context).some((path) => path === source || path.startsWith(source))).toBe(true)
        }
      }
      for (const [, source] of dockerfile.matchAll(/type=bind,source=([^,]+),/g)) {
        expect(Object.keys(context).some((path) => path === source || path.startsWith(`${source}/`))).toBe(
          true,
        )
      }
    })

    test(`${name} names its bases by digest, through arguments`, async () => {
      const dockerfile = (await imageContext(name))[`${name}/Dockerfile`]!
      const bases = [...dockerfile.matchAll(/^ARG BASE_\w+=(.*)$/gm)].map((match) => match[1]!)
      expect(bases.length).toBeGreaterThan(0)
      for (const base of bases) expect(base).toMatch(/@sha256:[0-9a-f]{64}$/)
      for (const [, from] of dockerfile.matchAll(/^FROM (\S+)/gm)) expect(from).toMatch(/^\$\{BASE\w*\}$/)
    })
  }

  test("downloads are pinned by version and hash, and no address of a registry is written down", async () => {
    for (const name of ["claude", "inner"] as const) {
      const context = await imageContext(name)
      const locks = Object.keys(context).filter((path) => path.endsWith("package-lock.json"))
      expect(locks.length).toBeGreaterThan(0)
      for (const path of locks) {
        const { packages } = JSON.parse(context[path]!) as {
          packages: Record<string, Record<string, string>>
        }
        const downloads = Object.entries(packages).filter(([key]) => key !== "")
        expect(downloads.length).toBeGreaterThan(0)
        for (const [, entry] of downloads) {
          expect(entry.integrity).toStartWith("sha512-")
          expect(entry.version).toMatch(/^\d+\.\d+\.\d+$/)
          expect(entry.resolved).toBeUndefined()
        }
      }
    }
  })
})

test("a sidecar's bundle has its entry, and is the same when it is asked for again", async () => {
  for (const name of ["gateway", "inner"] as const) {
    const bundle = await sidecarBundle(name)
    expect(Object.keys(bundle)).toContain(`${name}.js`)
    expect(await sidecarBundle(name)).toEqual(bundle)
  }
})
