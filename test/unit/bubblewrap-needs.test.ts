/** What bubblewrap is said to need, on machines that lack one thing each. */
import { expect, test } from "bun:test"
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { bubblewrapNeeds } from "../../src/backend/bubblewrap/needs.ts"
import { bubblewrapTrial, triedBubblewrap } from "../../src/backend/bubblewrap/trial.ts"
import type { Need } from "../../src/backend/types.ts"
import { BWRAP, type FakedMachine, fakedMachine } from "../fixtures/faked-machine.ts"

const RESTRICT = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"

function needOf(needs: Need[], name: string): Need {
  const need = needs.find((one) => one.name === name)
  if (need === undefined) throw new Error(`nothing is said of ${name}: ${needs.map((one) => one.name)}`)
  return need
}

/** The one need that is not met; anything else fails the test. */
async function lacking({ machine }: FakedMachine): Promise<Need> {
  const unmet = (await bubblewrapNeeds(undefined, machine)).filter((need) => !need.ok)
  expect(unmet.map((need) => need.name)).toHaveLength(1)
  return unmet[0]!
}

test("a machine with everything lacks nothing, and nothing of it is given to mend", async () => {
  using there = fakedMachine()
  there.program("bwrap", BWRAP)
  const needs = await bubblewrapNeeds(undefined, there.machine)
  expect(needs.filter((need) => !need.ok || need.mend !== "")).toEqual([])
  expect(needOf(needs, "bwrap").found).toStartWith("0.9.0, ")
  expect(needOf(needs, "limits").found).toBe("memory, pids, cpus")
})

test("a machine without bwrap is told its own distribution's command", async () => {
  const commands: [string, number, string][] = [
    ["ID=debian", 1000, "sudo apt install bubblewrap"],
    ["ID=debian", 0, "apt install bubblewrap"],
    ['ID=linuxmint\nID_LIKE="ubuntu debian"', 1000, "sudo apt install bubblewrap"],
    ["ID=fedora", 1000, "sudo dnf install bubblewrap"],
    ['ID="rocky"\nID_LIKE="rhel centos fedora"', 1000, "sudo dnf install bubblewrap"],
    ["ID=arch", 1000, "sudo pacman -S bubblewrap"],
    ["ID=alpine", 1000, "sudo apk add bubblewrap"],
    ['ID="opensuse-leap"\nID_LIKE="suse opensuse"', 1000, "sudo zypper install bubblewrap"],
    ["ID=constructor", 1000, ""],
  ]
  for (const [release, uid, mend] of commands) {
    using there = fakedMachine({ "/etc/os-release": release }, { uid })
    expect(await lacking(there)).toMatchObject({ name: "bwrap", required: true, mend })
  }
})

test("a bwrap in a relative folder of PATH, a folder and a file that may not be run are none", async () => {
  using there = fakedMachine()
  using elsewhere = fakedMachine()
  mkdirSync(join(there.bin, "bwrap"))
  elsewhere.program("bwrap", BWRAP, 0o644)
  const env = { ...there.machine.env, PATH: `.:bin:${there.bin}:${elsewhere.bin}` }
  const machine = { ...there.machine, env }
  expect(needOf(await bubblewrapNeeds(undefined, machine), "bwrap").found).toContain("not installed")
  const found = there.program("found", BWRAP)
  using third = fakedMachine()
  symlinkSync(found, join(third.bin, "bwrap"))
  const more = { ...machine, env: { ...env, PATH: `${env.PATH}:${third.bin}` } }
  expect(needOf(await bubblewrapNeeds(undefined, more), "bwrap")).toMatchObject({ ok: true })
})

test("a bwrap that cannot lock user namespaces is too old, whatever its version", async () => {
  using there = fakedMachine()
  there.program("bwrap", BWRAP.replace("--disable-userns", ""))
  const need = await lacking(there)
  expect(need).toMatchObject({ name: "bwrap", required: true, mend: "sudo apt install bubblewrap" })
  expect(need.found).toContain("--disable-userns")
})

test("a bwrap that was replaced is asked again, and one that was not is not", async () => {
  using there = fakedMachine()
  const asked = join(there.bin, "asked")
  there.program("bwrap", `echo "$1" >>${asked}; ${BWRAP}`)
  await bubblewrapNeeds(undefined, there.machine)
  const count = async () => (await Bun.file(asked).text()).trim().split("\n").length
  expect(await count()).toBe(2)
  await bubblewrapNeeds(undefined, there.machine)
  expect(await count()).toBe(2)
  there.program("bwrap", `${BWRAP.replace("0.9.0", "0.11.0")}`)
  expect(needOf(await bubblewrapNeeds(undefined, there.machine), "bwrap").found).toStartWith("0.11.0")
})

test("a memory of bwrap that makes no sense is not believed", async () => {
  using there = fakedMachine()
  there.program("bwrap", BWRAP)
  await bubblewrapNeeds(undefined, there.machine)
  const memory = join(there.machine.env.XDG_CACHE_HOME!, "bottle/bubblewrap.json")
  const { key } = await Bun.file(memory).json()
  for (const text of [
    "",
    "null",
    "[]",
    JSON.stringify({ key }),
    JSON.stringify({ key, answer: { version: 1 } }),
  ]) {
    writeFileSync(memory, text)
    expect(needOf(await bubblewrapNeeds(undefined, there.machine), "bwrap")).toMatchObject({ ok: true })
  }
})

test("a setuid bwrap is refused with the command that takes the bit away", async () => {
  using there = fakedMachine()
  const path = there.program("bwrap", BWRAP)
  // Asked once before: the bit is seen even though the file is remembered.
  await bubblewrapNeeds(undefined, there.machine)
  chmodSync(path, 0o4755)
  const need = await lacking(there)
  expect(need).toMatchObject({ name: "bwrap", required: true, mend: `sudo chmod u-s ${path}` })
})

test("a bwrap that hangs is given up within its second", async () => {
  using there = fakedMachine()
  there.program("bwrap", "trap '' TERM; exec sleep 60")
  const need = await lacking(there)
  expect(need).toMatchObject({ name: "bwrap", required: true })
  expect(need.found).toContain("did not end within 1 s")
})

test("each switch of the kernel that forbids user namespaces is named, with the command that turns it", async () => {
  const cases: [Record<string, string | undefined>, string, string][] = [
    [{ "/proc/sys/user/max_user_namespaces": "0" }, "max_user_namespaces is 0", "max_user_namespaces=15000"],
    [{ "/proc/sys/kernel/unprivileged_userns_clone": "0" }, "userns_clone is 0", "userns_clone=1"],
    [{ "/proc/sys/user/max_user_namespaces": undefined }, "CONFIG_USER_NS", ""],
  ]
  for (const [files, found, mend] of cases) {
    using there = fakedMachine(files)
    there.program("bwrap", BWRAP)
    const need = await lacking(there)
    expect(need).toMatchObject({ name: "user namespaces", required: true })
    expect(need.found).toContain(found)
    expect(need.mend).toContain(mend)
    if (mend !== "") expect(need.mend).toContain("sudo sysctl -p /etc/sysctl.d/60-bottle.conf")
  }
})

test("AppArmor that restricts user namespaces is mended by a profile for this very bwrap", async () => {
  using there = fakedMachine({ [RESTRICT]: "1\n" })
  const path = there.program("bwrap", BWRAP)
  const need = await lacking(there)
  expect(need).toMatchObject({ name: "AppArmor", required: true })
  expect(need.mend).toContain("sudo apparmor_parser -r /etc/apparmor.d/bwrap")
  // The command itself writes the profile: run here without its privileges, into a folder of the test.
  const file = join(there.bin, "profile")
  const script = need.mend
    .replaceAll("sudo ", "")
    .replaceAll("/etc/apparmor.d/bwrap", file)
    .split("\napparmor")[0]!
  expect(Bun.spawnSync(["sh", "-c", script]).exitCode).toBe(0)
  const profile = await Bun.file(file).text()
  expect(profile).toBe(`abi <abi/4.0>,\nprofile bwrap ${path} flags=(unconfined) {\n  userns,\n}\n`)

  // With it in its place the need is met; and it is not when the profile is switched off, or is another program's.
  const files = { [RESTRICT]: "1", "/etc/apparmor.d/bwrap": profile }
  const cases: [Record<string, string>, boolean][] = [
    [files, true],
    [{ ...files, "/etc/apparmor.d/disable/bwrap": "" }, false],
    [{ ...files, "/etc/apparmor.d/bwrap": profile.replace(path, "/opt/bwrap") }, false],
    [{ ...files, "/etc/apparmor.d/bwrap": profile.replace("userns,", "# userns,") }, false],
    [{ ...files, "/etc/apparmor.d/bwrap": "", "/etc/apparmor.d/bwrap-userns-restrict": profile }, true],
    [{ [RESTRICT]: "0" }, true],
  ]
  for (const [more, ok] of cases) {
    using other = fakedMachine(more)
    const machine = { ...other.machine, env: there.machine.env }
    expect(needOf(await bubblewrapNeeds(undefined, machine), "AppArmor").ok).toBe(ok)
  }
})

test("a kernel without filters, an old one and a processor without rules are refused", async () => {
  const cases: [Record<string, string | undefined>, Partial<FakedMachine["machine"]>, string, string][] = [
    [{ "/proc/sys/kernel/seccomp/actions_avail": undefined }, {}, "seccomp", "CONFIG_SECCOMP_FILTER"],
    [{ "/proc/sys/kernel/osrelease": "5.0.9" }, {}, "Linux", "5.1 or newer"],
    [{}, { arch: "riscv64" }, "Linux", "x64 and arm64"],
  ]
  for (const [files, more, name, found] of cases) {
    using there = fakedMachine(files, more)
    there.program("bwrap", BWRAP)
    const needs = await bubblewrapNeeds(undefined, there.machine)
    expect(needOf(needs, name)).toMatchObject({ ok: false, required: true })
    expect(needOf(needs, name).found).toContain(found)
  }
})

test("limits that cannot be enforced are a note, and where the user's service manager can help it is said", async () => {
  const mounted = {
    "/sys/fs/cgroup/cgroup.controllers": undefined,
    "/sys/fs/cgroup/cgroup.procs": undefined,
    "/sys/fs/cgroup/cgroup.subtree_control": undefined,
  }
  using there = fakedMachine(mounted)
  there.program("bwrap", BWRAP)
  expect(await lacking(there)).toMatchObject({ name: "limits", required: false, mend: "" })
  // Version 2 that hands nothing on: nothing can be made there, and the manager of uid 1000 runs.
  using managed = fakedMachine({
    "/sys/fs/cgroup/cgroup.subtree_control": "",
    "/sys/fs/cgroup/cgroup.controllers": "",
    "/run/user/1000/systemd/private": "",
  })
  managed.program("bwrap", BWRAP)
  const need = await lacking(managed)
  expect(need).toMatchObject({ name: "limits", required: false })
  expect(need.mend).toBe("systemd-run --user --scope bottle start")
})

test("elsewhere than on Linux one need says so, and nothing else is asked", async () => {
  using there = fakedMachine({}, { platform: "darwin" })
  const needs = await triedBubblewrap(undefined, there.machine)
  expect(needs.map(({ name, ok }) => ({ name, ok }))).toEqual([{ name: "Linux", ok: false }])
})

test("a trial sandbox starts on this machine, and a bwrap that fails is quoted", async () => {
  const needs = await triedBubblewrap()
  expect(needs.filter((need) => need.required && !need.ok)).toEqual([])
  expect(needs.at(-1)).toMatchObject({ name: "a sandbox starts", ok: true })

  using there = fakedMachine({ [RESTRICT]: "1", "/etc/apparmor.d/bwrap": "" })
  const path = there.program(
    "bwrap",
    "echo 'bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted' >&2; exit 1",
  )
  const failed = await bubblewrapTrial(path, undefined, there.machine)
  expect(failed).toMatchObject({ ok: false, required: true })
  expect(failed.found).toContain("RTM_NEWADDR")
  expect(failed.mend).toContain("apparmor_parser -r")

  using container = fakedMachine({ "/.dockerenv": "" })
  const hidden = container.program(
    "bwrap",
    'echo "bwrap: Can\'t mount proc on /newroot/proc: not permitted" >&2; exit 1',
  )
  expect((await bubblewrapTrial(hidden, undefined, container.machine)).mend).toContain(
    "systempaths=unconfined",
  )
})

test("the trial is not run where something is missing already", async () => {
  using there = fakedMachine({ "/proc/sys/kernel/unprivileged_userns_clone": "0" })
  there.program("bwrap", BWRAP)
  const needs = await triedBubblewrap(undefined, there.machine)
  expect(needs.map((need) => need.name)).not.toContain("a sandbox starts")
})

test("a root that has given up its powers is told which one is missing, and how a container gets it", async () => {
  const status = (mask: string) => ({ "/proc/self/status": `Name:\tbottle\nCapEff:\t${mask}\n` })
  const [docker, whole] = ["00000000a80425fb", "000001ffffffffff"]
  const needs = async (files: Record<string, string>, uid: number) => {
    using there = fakedMachine(files, { uid })
    there.program("bwrap", BWRAP)
    return (await bubblewrapNeeds(undefined, there.machine)).filter((need) => !need.ok)
  }
  expect(await needs(status(whole), 0)).toEqual([])
  expect(await needs(status("0000000000000000"), 1000)).toEqual([])
  const [lacks, ...more] = await needs(status(docker), 0)
  expect(more).toEqual([])
  expect(lacks).toMatchObject({ name: "powers of root", required: true, mend: "" })
  expect(lacks?.found).toContain("CAP_SYS_ADMIN")
  const [contained] = await needs({ ...status(docker), "/.dockerenv": "" }, 0)
  expect(contained?.mend).toContain("--cap-add SYS_ADMIN")
})
