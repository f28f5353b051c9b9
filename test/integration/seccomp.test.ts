/**
 * The system call filter under this machine's kernel, as bwrap loads it. The calls are made with every capability that
 * a user namespace can give, so that a refusal is the filter's; where the kernel refuses with the same error on its
 * own, a second run tells them apart: there the filter's errors are moved to numbers that no kernel uses.
 */
import { expect, test } from "bun:test"
import { chmodSync, closeSync, constants, copyFileSync, openSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { deniedCalls, seccompFilter } from "../../src/backend/bubblewrap/seccomp/filter.ts"
import { ERRNO, type ErrnoName } from "../../src/backend/bubblewrap/seccomp/rules.ts"
import { temporaryFolder } from "../fixtures/temporary-folder.ts"

const ARCH = process.arch === "arm64" ? "arm64" : "x64"
/** Who runs bwrap when these tests are root, which it never is otherwise */
const NOBODY = 64_321
/** Added to the filter's errors in the run that tells them from the kernel's */
const MARK = 3_000

const SYSCALLS = readFileSync(join(import.meta.dir, "../fixtures/syscalls.py"), "utf8")

interface Attempt {
  /** Name of the call, or of what is tried with it */
  call: string
  arguments: (number | string)[]
  /** Error that the filter gives */
  refused: ErrnoName
  /** Whether this kernel, or one configured differently, gives the same error without a filter */
  kernelMayToo?: true
}

const attempt = (
  call: string,
  refused: Attempt["refused"],
  args: Attempt["arguments"],
  kernelMayToo?: true,
): Attempt => ({ call, refused, arguments: args, ...(kernelMayToo && { kernelMayToo }) })

const [CLONE_NEWUSER, CLONE_NEWNET, SIGCHLD] = [0x10000000, 0x40000000, 17]
const high = (value: number) => String((1n << 32n) | BigInt(value))

const ATTEMPTS: Attempt[] = [
  attempt("ptrace", "EPERM", [0]),
  attempt("process_vm_readv", "EPERM", [1, 0, 0, 0, 0, 1]),
  attempt("process_vm_writev", "EPERM", [1, 0, 0, 0, 0, 1]),
  attempt("process_madvise", "EPERM", [-1, 0, 0, 0, 0]),
  attempt("pidfd_getfd", "EPERM", [-1, 0, 0]),
  attempt("kcmp", "EPERM", [0, 0, 0, 0, 0]),
  attempt("io_uring_setup", "EPERM", [1, "buffer"], true),
  attempt("io_uring_enter", "EPERM", [-1, 0, 0, 0, 0, 0]),
  attempt("io_uring_register", "EPERM", [-1, 0, 0, 0]),
  attempt("bpf", "EPERM", [0, "buffer", 16], true),
  attempt("perf_event_open", "EPERM", [0, 0, 0, 0, 0]),
  attempt("userfaultfd", "EPERM", [1]),
  attempt("add_key", "EPERM", [0, 0, 0, 0, 0]),
  attempt("request_key", "EPERM", [0, 0, 0, 0]),
  attempt("keyctl", "EPERM", [0, -3, 1]),
  attempt("mount", "EPERM", [0, 1, 0, 0, 0]),
  attempt("umount2", "EPERM", [1, 0]),
  attempt("pivot_root", "EPERM", [1, 1]),
  attempt("chroot", "EPERM", [1]),
  attempt("move_mount", "EPERM", [-1, 1, -1, 1, 0]),
  attempt("open_tree", "EPERM", [-1, 1, 1]),
  attempt("open_tree_attr", "EPERM", [-1, 1, 1, 0, 0]),
  attempt("fsopen", "EPERM", [1, 0]),
  attempt("fsconfig", "EPERM", [-1, 0, 0, 0, 0]),
  attempt("fsmount", "EPERM", [-1, 0, 0]),
  attempt("fspick", "EPERM", [-1, 1, 0]),
  attempt("mount_setattr", "EPERM", [-1, 1, 0, 0, 0]),
  attempt("statmount", "ENOSYS", [0, 0, 0, 0], true),
  attempt("listmount", "ENOSYS", [0, 0, 0, 0], true),
  attempt("unshare", "EPERM", [0]),
  attempt("unshare", "EPERM", [CLONE_NEWUSER]),
  attempt("unshare", "EPERM", [CLONE_NEWNET]),
  attempt("setns", "EPERM", [-1, 0]),
  attempt("clone3", "ENOSYS", ["buffer", 0]),
  attempt("clone", "EPERM", [CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0]),
  attempt("clone", "EPERM", [CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0]),
  attempt("clone", "EPERM", [high(CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0]),
  attempt("open_by_handle_at", "EPERM", [-1, 0, 0], true),
  attempt("name_to_handle_at", "EPERM", [-1, 0, 0, 0, -1]),
  attempt("fanotify_init", "EPERM", [0x200, 0]),
  attempt("fanotify_mark", "EPERM", [-1, 0, 0, 0, 0]),
  attempt("move_pages", "EPERM", [0, 0, 0, 0, 0, -1]),
  attempt("migrate_pages", "EPERM", [0x3fffffff, 0, 0, 0]),
  attempt("mbind", "EPERM", [0, 0, 0, 0, 0, 0]),
  attempt("set_mempolicy", "EPERM", [0, 0, 0]),
  attempt("set_mempolicy_home_node", "EPERM", [0, 0, 0, 1]),
  attempt("get_mempolicy", "EPERM", [0, 0, 0, 0, 0]),
  attempt("lsm_get_self_attr", "ENOSYS", [0, 0, 0, 0], true),
  attempt("lsm_set_self_attr", "ENOSYS", [0, 0, 0, 0], true),
  attempt("lsm_list_modules", "ENOSYS", [0, 0, 0], true),
  attempt("kexec_load", "EPERM", [0, 0, 0, 0], true),
  attempt("kexec_file_load", "EPERM", [-1, -1, 0, 0, 0], true),
  attempt("reboot", "EPERM", [0, 0, 0, 0]),
  attempt("init_module", "EPERM", [0, 0, 0], true),
  attempt("finit_module", "EPERM", [-1, 0, 0], true),
  attempt("delete_module", "EPERM", [0, 0], true),
  attempt("swapon", "EPERM", [0, 0], true),
  attempt("swapoff", "EPERM", [0], true),
  attempt("acct", "EPERM", [1], true),
  attempt("quotactl", "EPERM", [0xff, 0, 0, 0]),
  attempt("quotactl_fd", "EPERM", [-1, 0xff, 0, 0]),
  attempt("syslog", "EPERM", [3, "buffer", 16], true),
  attempt("vhangup", "EPERM", [], true),
  attempt("settimeofday", "EPERM", [1, 0]),
  attempt("clock_settime", "EPERM", [0, 1]),
  attempt("clock_adjtime", "EPERM", [0, 1]),
  attempt("adjtimex", "EPERM", [1]),
  attempt("sethostname", "EPERM", ["buffer", 1]),
  attempt("setdomainname", "EPERM", ["buffer", 1]),
  attempt("iopl", "EPERM", [4]),
  attempt("ioperm", "EPERM", [0xffff, 2, 1]),
  attempt("modify_ldt", "EPERM", [0, "buffer", 16]),
  ...["_sysctl", "create_module", "get_kernel_syms", "query_module", "nfsservctl", "lookup_dcookie"].map(
    (call) => attempt(call, "ENOSYS", [0, 0, 0, 0], true),
  ),
  attempt("vserver", "ENOSYS", [0, 0, 0], true),
  attempt("uselib", "ENOSYS", [1], true),
  attempt("ustat", "ENOSYS", [0, "buffer"], true),
  attempt("sysfs", "ENOSYS", [3], true),
  // TIOCSTI, TIOCLINUX, TIOCCONS and TIOCSETD, and the first with a bit that the kernel drops.
  attempt("ioctl", "EPERM", ["terminal", 0x5412, "buffer"]),
  attempt("ioctl", "EPERM", ["terminal", high(0x5412), "buffer"]),
  attempt("ioctl", "EPERM", ["terminal", 0x541c, "buffer"]),
  attempt("ioctl", "EPERM", ["terminal", 0x541d, 0], true),
  attempt("ioctl", "EPERM", ["terminal", 0x5423, "buffer"]),
  // Netlink, packet, ALG, vsock and XDP.
  attempt("socket", "EAFNOSUPPORT", [16, 3, 0]),
  attempt("socket", "EAFNOSUPPORT", [high(16), 3, 0]),
  attempt("socket", "EAFNOSUPPORT", [17, 3, 0], true),
  attempt("socket", "EAFNOSUPPORT", [38, 5, 0], true),
  attempt("socket", "EAFNOSUPPORT", [40, 1, 0], true),
  attempt("socket", "EAFNOSUPPORT", [44, 3, 0], true),
  attempt("socketpair", "EAFNOSUPPORT", [16, 3, 0, "buffer"]),
  // ICMP by hand, the packet socket in disguise, SCTP by its type, ping, MPTCP.
  attempt("socket", "EPERM", [2, 3, 1]),
  attempt("socket", "EPERM", [2, 10, 0x300]),
  attempt("socket", "ESOCKTNOSUPPORT", [2, 5, 0], true),
  attempt("socket", "EPROTONOSUPPORT", [2, 2, 1]),
  attempt("socket", "EPROTONOSUPPORT", [2, 1, 262], true),
  attempt("setsockopt", "ENOENT", [-1, 6, 31, "buffer", 3]),
  // F_SETLEASE with F_WRLCK.
  attempt("fcntl", "EPERM", [0, 1024, 1]),
  attempt("fcntl", "EPERM", [0, high(1024), 1]),
  attempt("personality", "EPERM", [0x400000]),
]

/** Numbers that name no call: the first one of a later kernel, and getpid of x32. */
const NO_CALLS: number[] = [470, 0x40000000 | 39]

interface Sandbox {
  /** Filter to load; absent is none */
  filter?: Uint8Array | undefined
  /** What stdin holds */
  input?: string
  /** Who the program is in the sandbox's own user namespace */
  uid?: number
  /** Further arguments for bwrap */
  options?: string[]
}

/** Runs a program in a bubblewrap sandbox, never as root, and hands back what it wrote. */
async function inSandbox(argv: string[], { filter, input = "", uid = 1000, options = [] }: Sandbox) {
  using folder = temporaryFolder()
  const path = join(folder.path, "filter")
  writeFileSync(path, filter ?? new Uint8Array())
  const fd = openSync(path, "r")
  const bwrap = ["bwrap", "--unshare-all", "--unshare-user", "--uid", `${uid}`, "--gid", `${uid}`]
  bwrap.push("--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")
  for (const name of ["bin", "lib", "lib64"]) bwrap.push("--symlink", `usr/${name}`, `/${name}`)
  bwrap.push("--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--chdir", "/tmp")
  if (filter !== undefined) bwrap.push("--seccomp", "3")
  const asRoot = process.getuid!() === 0
  await using child = Bun.spawn([...bwrap, ...options, "--", ...argv], {
    cwd: "/",
    stdio: [Buffer.from(input), "pipe", "pipe", fd],
    ...(asRoot && { uid: NOBODY, gid: NOBODY }),
  })
  closeSync(fd)
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { stdout, stderr, code }
}

type Call = { number: number; arguments: (number | string)[] } | { int80: number }

/** Makes the calls, with every capability in the sandbox's own user namespace: errors, 0, or the deadly signal. */
async function outcomes(calls: Call[], filter?: Uint8Array): Promise<(number | string)[]> {
  const { stdout, stderr } = await inSandbox(["python3", "-c", SYSCALLS], {
    filter,
    input: JSON.stringify(calls),
    // As any other user, bwrap would put the program in a second user namespace, which owns none of the others.
    uid: 0,
    options: ["--cap-add", "ALL"],
  })
  expect(stderr).toBe("")
  return JSON.parse(stdout)
}

/** The same filter, with each error moved to where no kernel's errors are. */
function marked(filter: Uint8Array): Uint8Array {
  const copy = filter.slice()
  const view = new DataView(copy.buffer)
  for (let at = 0; at < copy.length; at += 8) {
    const value = view.getUint32(at + 4, true)
    const isError = view.getUint16(at, true) === 0x06 && value >>> 16 === 5
    if (isError) view.setUint32(at + 4, value + MARK, true)
  }
  return copy
}

const numbers = new Map(
  deniedCalls(ARCH).flatMap(({ call, number }) => (number === undefined ? [] : [[call, number]])),
)
const attempts = ATTEMPTS.filter(({ call }) => numbers.has(call))
const calls: Call[] = attempts.map((one) => ({ number: numbers.get(one.call)!, arguments: one.arguments }))
const filter = seccompFilter(ARCH)

test("each call that is described as refused is tried here", () => {
  expect([...new Set(attempts.map(({ call }) => call))].toSorted()).toEqual([...numbers.keys()].toSorted())
})

test("the filter refuses each call, and it is the filter that does", async () => {
  const expected = attempts.map((one) => ERRNO[one.refused])
  const shown = (results: (number | string)[]) =>
    results.map((result, index) => `${attempts[index]!.call}(${attempts[index]!.arguments}): ${result}`)
  expect(shown(await outcomes(calls, filter))).toEqual(shown(expected))
  expect(shown(await outcomes(calls, marked(filter)))).toEqual(shown(expected.map((errno) => errno + MARK)))
})

test("without the filter the kernel does not refuse them so", async () => {
  const results = await outcomes(calls)
  const alsoRefused = attempts.filter((one, index) => results[index] === ERRNO[one.refused])
  expect(alsoRefused.filter((one) => one.kernelMayToo !== true)).toEqual([])
  // What the control is for: these succeed, and the same calls with the filter did not.
  const succeeded = attempts.filter((_, index) => results[index] === 0).map(({ call }) => call)
  for (const call of [
    "ptrace",
    "unshare",
    "clone",
    "sethostname",
    "socket",
    "personality",
    "get_mempolicy",
  ]) {
    expect(succeeded).toContain(call)
  }
})

test("numbers that name no call of Linux 6.18 are unknown, whatever this kernel has", async () => {
  const unknown = NO_CALLS.map((number): Call => ({ number, arguments: [0, 0, 0, 0, 0, 0] }))
  expect(await outcomes(unknown, filter)).toEqual(NO_CALLS.map(() => ERRNO.ENOSYS))
  expect(await outcomes(unknown, marked(filter))).toEqual(NO_CALLS.map(() => ERRNO.ENOSYS + MARK))
})

// arm64 has no way into 32-bit calls from a 64-bit program.
if (ARCH === "x64") {
  test("a program that makes a call of i386 by int 0x80 is ended", async () => {
    const getpid = { int80: 20 }
    expect(await outcomes([getpid], filter)).toEqual(["SIGSYS"])
    // It works without the filter, or faults where the kernel was built without i386's calls.
    expect(["SIGSEGV", 0]).toContain((await outcomes([getpid]))[0]!)
  })
}

const SERVER = `
const server = require("node:http").createServer((_, response) => response.end("served")).listen(0, "127.0.0.1", async () => {
  console.log(await (await fetch("http://127.0.0.1:" + server.address().port)).text())
  server.closeAllConnections()
  server.close()
})
new (require("node:worker_threads").Worker)("1", { eval: true })
`
const TERMINAL = `
let text = ""
const child = Bun.spawn(["bash", "-c", "stty size; read line; echo got $line"], {
  terminal: { cols: 91, rows: 17, data: (terminal, chunk) => {
    text += new TextDecoder().decode(chunk)
    if (text.endsWith("17 91\\r\\n")) terminal.write("typed\\n")
  } },
})
const code = await child.exited
console.log(JSON.stringify({ code, size: text.includes("17 91"), got: text.includes("got typed") }))
`
const PYTHON = `
import asyncio, multiprocessing, socket, subprocess, tempfile, threading
print(multiprocessing.get_context("fork").Pool(2).map(abs, [-1, 2]))
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
print(subprocess.run(["true"]).returncode, asyncio.run(asyncio.sleep(0, "slept")))
left, right = socket.socketpair(); left.send(b"x"); print(right.recv(1))
print(socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)[0][4])
`
const GIT = `
git init -q project && cd project && echo text > file && git add file &&
git -c user.name=n -c user.email=n@example.com commit -q -m first && git clone -q . ../copy && git -C ../copy log --format=%s
`

const PROGRAMS: [name: string, argv: string[], prints: string][] = [
  ["bash, with jobs and pipes", ["bash", "-c", "(echo a & wait) | cat; echo $((6 * 7))"], "a\n42\n"],
  ["python3", ["python3", "-c", PYTHON], "[1, 2]\n0 slept\nb'x'\n('127.0.0.1', 80)\n"],
  [
    "perl",
    ["perl", "-e", 'print `echo child`, fork ? wait > 0 ? "reaped\\n" : "" : exit'],
    "child\nreaped\n",
  ],
  ["git", ["bash", "-c", GIT], "first\n"],
  ["node", ["node", "-e", SERVER], "served\n"],
  ["bun", ["/tmp/bun", "-e", SERVER], "served\n"],
  ["a terminal that bun makes", ["/tmp/bun", "-e", TERMINAL], '{"code":0,"size":true,"got":true}\n'],
  ["a program without a random layout", ["setarch", "-R", "echo", "fixed"], "fixed\n"],
]

test.each(PROGRAMS)("%s works behind the filter", async (_, argv, prints) => {
  using folder = temporaryFolder()
  chmodSync(folder.path, 0o755)
  const bun = join(folder.path, "bun")
  // Its folder may be one that NOBODY cannot enter.
  if (argv[0] === "/tmp/bun") copyFileSync(process.execPath, bun, constants.COPYFILE_FICLONE)
  else writeFileSync(bun, "")
  chmodSync(bun, 0o755)
  const result = await inSandbox(argv, { filter, options: ["--ro-bind", bun, "/tmp/bun"] })
  expect(result).toEqual({ stdout: prints, stderr: "", code: 0 })
})

test("curl names its version behind the filter, and reaches a listener of the sandbox", async () => {
  const serve = `
import http.server, subprocess, threading
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(subprocess.check_output(["curl", "--version"], text=True).split()[0], flush=True)
url = f"http://127.0.0.1:{server.server_port}/"
print(subprocess.check_output(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url], text=True))
`
  const { stdout, code } = await inSandbox(["python3", "-c", serve], { filter })
  expect({ stdout, code }).toEqual({ stdout: "curl\n200\n", code: 0 })
})
