import { expect, test } from "bun:test"
import { chmodSync, existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { type Mount, systemMounts } from "../../src/backend/bubblewrap/system.ts"
import { CA_BUNDLE, CA_JAVA } from "../../src/policy/paths.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

/** A host with the given files, links (`-> target`) and folders (trailing slash). */
function host(root: string, entries: Record<string, string>): void {
  for (const [name, content] of Object.entries(entries)) {
    const path = join(root, name)
    mkdirSync(name.endsWith("/") ? path : dirname(path), { recursive: true })
    if (content.startsWith("-> ")) symlinkSync(content.slice(3), path)
    else if (!name.endsWith("/")) writeFileSync(path, content)
  }
}

const MERGED = {
  "usr/bin/bash": "",
  bin: "-> usr/bin",
  lib: "-> usr/lib",
  lib64: "-> usr/lib64",
  sbin: "-> usr/sbin",
}

function at(mounts: readonly Mount[], to: string): Mount | undefined {
  return mounts.find((mount) => mount.to === to)
}

function text(mounts: readonly Mount[], to: string): string {
  const mount = at(mounts, to)
  return mount?.kind === "file" ? mount.content : ""
}

test("a merged system keeps its links and an unmerged one its folders", () => {
  using folder = temporaryFolder()
  host(folder.path, { ...MERGED, "lib32/": "" })
  const mounts = systemMounts("name", folder.path)
  expect(at(mounts, "/usr")).toEqual({ kind: "ro-bind", from: join(folder.path, "usr"), to: "/usr" })
  expect(at(mounts, "/bin")).toEqual({ kind: "symlink", target: "usr/bin", to: "/bin" })
  expect(at(mounts, "/lib32")).toEqual({ kind: "ro-bind", from: join(folder.path, "lib32"), to: "/lib32" })
  expect(at(mounts, "/libx32")).toBeUndefined()
})

test("a NixOS system has its store and the way to its programs", () => {
  using folder = temporaryFolder()
  host(folder.path, {
    "usr/bin/env": "",
    "nix/store/abc-system/sw/bin/": "",
    "run/current-system": "-> ../nix/store/abc-system",
    "nix/store/abc-etc/services": "http 80/tcp",
    "etc/static": "-> ../nix/store/abc-etc",
    "etc/services": "-> static/services",
  })
  const mounts = systemMounts("name", realpathSync(folder.path))
  expect(at(mounts, "/nix/store")?.kind).toBe("ro-bind")
  const way = { kind: "symlink", target: "/nix/store/abc-system/sw", to: "/run/current-system/sw" } as const
  expect(at(mounts, "/run/current-system/sw")).toEqual(way)
  const services = { kind: "symlink", target: "/nix/store/abc-etc/services", to: "/etc/services" } as const
  expect(at(mounts, "/etc/services")).toEqual(services)
})

test("of /etc only what the list names is seen, and nothing else of the host", () => {
  using folder = temporaryFolder()
  const secrets = [
    ...["shadow", "gshadow", "sudoers", "ssh/ssh_host_ed25519_key", "ssl/private/key.pem", "gitconfig"],
    ...["environment", "profile", "profile.d/proxy.sh", "bash.bashrc", "npmrc", "pip.conf", "wgetrc"],
    ...["machine-id", "maven/settings.xml", "docker/daemon.json", "krb5.keytab", "ld.so.preload", "fstab"],
  ]
  const files = Object.fromEntries(secrets.map((name) => [`etc/${name}`, "secret"]))
  host(folder.path, {
    ...MERGED,
    ...files,
    "etc/services": "",
    "etc/maven/m2.conf": "",
    "opt/x": "",
    "srv/x": "",
  })
  const bound = systemMounts("name", folder.path).flatMap((mount) =>
    mount.kind === "ro-bind" ? [mount.to] : [],
  )
  expect(bound).toEqual(["/usr", "/etc/services", "/etc/maven/m2.conf"])
})

test("what only some may read is left out, whoever asks", () => {
  using folder = temporaryFolder()
  host(folder.path, { ...MERGED, "etc/services": "", "etc/protocols": "", "etc/fonts/": "", "etc/perl/": "" })
  chmodSync(join(folder.path, "etc/services"), 0o640)
  chmodSync(join(folder.path, "etc/fonts"), 0o750)
  const mounts = systemMounts("name", folder.path)
  expect(at(mounts, "/etc/services")).toBeUndefined()
  expect(at(mounts, "/etc/fonts")).toBeUndefined()
  expect(at(mounts, "/etc/protocols")?.kind).toBe("ro-bind")
  expect(at(mounts, "/etc/perl")?.kind).toBe("ro-bind")
})

test("a link of /etc is taken when it leads into the system and left out when it leads elsewhere", () => {
  using folder = temporaryFolder()
  const root = realpathSync(folder.path)
  host(root, {
    ...MERGED,
    "usr/share/zoneinfo/Europe/Vienna": "TZif",
    "etc/localtime": "-> ../usr/share/zoneinfo/Europe/Vienna",
    "home/me/inputrc": "",
    "etc/inputrc": "-> ../home/me/inputrc",
    "etc/magic": "-> nowhere",
    "etc/services": "-> own/services",
    "etc/own/services": "",
  })
  const mounts = systemMounts("name", root)
  expect(at(mounts, "/etc/localtime")).toEqual({
    kind: "symlink",
    target: "/usr/share/zoneinfo/Europe/Vienna",
    to: "/etc/localtime",
  })
  expect(at(mounts, "/etc/inputrc")).toBeUndefined()
  expect(at(mounts, "/etc/magic")).toBeUndefined()
  const services = { kind: "ro-bind", from: join(root, "etc/own/services"), to: "/etc/services" } as const
  expect(at(mounts, "/etc/services")).toEqual(services)
})

test("the configuration of programs below /usr is hidden", () => {
  using folder = temporaryFolder()
  host(folder.path, { ...MERGED, "usr/local/etc/npmrc": "//registry/:_authToken=x", "usr/etc/npmrc": "" })
  const mounts = systemMounts("name", folder.path)
  expect(mounts.flatMap((mount) => (mount.kind === "empty" ? [mount.to] : []))).toEqual([
    "/usr/etc",
    "/usr/local/etc",
  ])
  expect(mounts.findIndex(({ to }) => to === "/usr")).toBeLessThan(
    mounts.findIndex(({ kind }) => kind === "empty"),
  )
})

test("users, names and resolver are written anew and tell nothing of the host", () => {
  using folder = temporaryFolder()
  host(folder.path, {
    ...MERGED,
    "etc/passwd": "jane:x:1000:1000:Jane Doe:/home/jane:/bin/zsh",
    "etc/hosts": "10.0.0.7 build.corp",
    "etc/resolv.conf": "nameserver 10.0.0.1",
  })
  const mounts = systemMounts("dev-abcde", folder.path)
  expect(text(mounts, "/etc/passwd").split("\n")).toContain("agent:x:1000:1000::/home/agent:/bin/bash")
  expect(text(mounts, "/etc/group").split("\n")).toContain("agent:x:1000:")
  expect(text(mounts, "/etc/hosts")).toContain("127.0.0.1 localhost dev-abcde\n")
  expect(text(mounts, "/etc/hostname")).toBe("dev-abcde\n")
  expect(text(mounts, "/etc/nsswitch.conf")).toContain("hosts: files\n")
  expect(text(mounts, "/etc/resolv.conf")).not.toContain("nameserver")
  expect(JSON.stringify(mounts)).not.toMatch(/jane|corp|10\.0\.0/)
})

test("without bash the agent's shell is the one that every system has", () => {
  using folder = temporaryFolder()
  host(folder.path, { "usr/bin/dash": "" })
  expect(text(systemMounts("name", folder.path), "/etc/passwd")).toContain(":/home/agent:/bin/sh\n")
})

test("every place where programs look for certificates leads to the bottle's", () => {
  const mounts = systemMounts("name")
  for (const to of [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  ]) {
    expect(at(mounts, to)).toEqual({ kind: "symlink", target: CA_BUNDLE, to })
  }
  const java = "/etc/ssl/certs/java/cacerts"
  expect(at(mounts, java)).toEqual({ kind: "symlink", target: CA_JAVA, to: java })
})

test("on this machine no place is made twice and all that is bound is there", () => {
  const mounts = systemMounts("name")
  const places = mounts.map(({ to }) => to)
  expect(new Set(places).size).toBe(places.length)
  const bound = mounts.flatMap((mount) => (mount.kind === "ro-bind" ? [mount.from] : []))
  expect(bound.filter((path) => !existsSync(path) || realpathSync(path) !== path)).toEqual([])
  expect(bound).toContain("/usr")
})
