/** The system call filter, run over calls of both architectures whatever machine this is. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { label, Program } from "../../src/backend/bubblewrap/seccomp/bpf.ts"
import { deniedCalls, seccompFilter } from "../../src/backend/bubblewrap/seccomp/filter.ts"
import { runFilter } from "../fixtures/bpf.ts"

const ALLOW = 0x7fff0000
const KILL_PROCESS = 0x80000000
const EPERM = 0x50001
const ENOENT = 0x50002
const ENOSYS = 0x50026
const EPROTONOSUPPORT = 0x5005d
const ESOCKTNOSUPPORT = 0x5005e
const EAFNOSUPPORT = 0x50061

// What follows was written down from the kernel's headers, apart from the tables that are tested.
const ARCHES = [
  {
    arch: "x64",
    audit: 0xc000003e,
    foreign: [0x40000003, 0x40000028, 0xc00000b7, 0x8000003e, 0x3e, 0],
    assigned: [
      [0, 336],
      [424, 469],
    ],
    call: { clone: 56, fcntl: 72, ioctl: 16, personality: 135, setsockopt: 54, socket: 41, socketpair: 53 },
    refused: {
      // ptrace, perf_event_open, process_vm_*, kcmp, bpf, userfaultfd, io_uring_*, pidfd_getfd, process_madvise
      EPERM: [101, 298, 310, 311, 312, 321, 323, 425, 426, 427, 438, 440].concat(
        // pivot_root, chroot, mount, umount2, open_tree, move_mount, fs*, mount_setattr, open_tree_attr
        [155, 161, 165, 166, 428, 429, 430, 431, 432, 433, 442, 467],
        // syslog, vhangup, modify_ldt, adjtimex, acct, settimeofday, swap*, reboot, set*name, iopl, ioperm
        [103, 153, 154, 159, 163, 164, 167, 168, 169, 170, 171, 172, 173],
        // modules, kexec, quotactl, clock_*time, keys
        [175, 176, 313, 246, 320, 179, 443, 227, 305, 248, 249, 250],
        // mbind, set_mempolicy, get_mempolicy, migrate_pages, move_pages, set_mempolicy_home_node
        [237, 238, 239, 256, 279, 450],
        // unshare, setns, fanotify_*, *_handle_at
        [272, 308, 300, 301, 303, 304],
      ),
      // clone3, statmount, listmount, lsm_*, and what is obsolete
      ENOSYS: [435, 457, 458, 459, 460, 461, 134, 136, 139, 156, 174, 177, 178, 180, 212, 236],
    },
    // read, write, open, mmap, fork, vfork, execve, kill, uname, prctl, arch_prctl, futex, openat, splice, getrandom,
    // memfd_create, execveat, seccomp, rseq, uretprobe, pidfd_open, close_range, openat2, landlock_*, mseal, file_setattr
    allowed: [0, 1, 2, 9, 57, 58, 59, 62, 63, 157, 158, 202, 257, 275, 318, 319, 322, 317, 334, 335].concat([
      434, 436, 437, 444, 445, 446, 462, 469,
    ]),
  },
  {
    arch: "arm64",
    audit: 0xc00000b7,
    foreign: [0x40000028, 0x40000003, 0xc000003e, 0x800000b7, 0xb7, 0],
    assigned: [
      [0, 243],
      [260, 294],
      [424, 469],
    ],
    call: {
      clone: 220,
      fcntl: 25,
      ioctl: 29,
      personality: 92,
      setsockopt: 208,
      socket: 198,
      socketpair: 199,
    },
    refused: {
      EPERM: [117, 241, 270, 271, 272, 280, 282, 425, 426, 427, 438, 440].concat(
        [41, 51, 40, 39, 428, 429, 430, 431, 432, 433, 442, 467],
        [116, 58, 171, 89, 170, 224, 225, 142, 161, 162],
        [105, 106, 273, 104, 294, 60, 443, 112, 266, 217, 218, 219],
        [235, 237, 236, 238, 239, 450],
        [97, 268, 262, 263, 264, 265],
      ),
      ENOSYS: [435, 457, 458, 459, 460, 461, 42, 18],
    },
    // read, write, openat, mmap, execve, kill, uname, prctl, futex, splice, getrandom, memfd_create, execveat, seccomp,
    // rseq, pidfd_open, close_range, openat2, landlock_*, mseal, file_setattr
    allowed: [63, 64, 56, 222, 221, 129, 160, 167, 98, 76, 278, 279, 281, 277, 293].concat([
      434, 436, 437, 444, 445, 446, 462, 469,
    ]),
  },
] as const

const word = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })
const sixWords = fc.array(word, { minLength: 6, maxLength: 6 })

describe.each(ARCHES)("the filter of $arch", ({ arch, audit, foreign, assigned, call, refused, allowed }) => {
  const filter = seccompFilter(arch)
  const verdict = (number: number, ...args: (number | bigint)[]) =>
    runFilter(filter, { number, arch: audit, args: args.map(BigInt) }).value
  const isAssigned = (number: number) => assigned.some(([first, last]) => number >= first && number <= last)

  test("refuses what the policy refuses whatever the arguments, and lets programs do what they must", () => {
    fc.assert(
      fc.property(sixWords, (args) => {
        for (const number of refused.EPERM)
          expect([number, verdict(number, ...args)]).toEqual([number, EPERM])
        for (const number of refused.ENOSYS)
          expect([number, verdict(number, ...args)]).toEqual([number, ENOSYS])
        for (const number of allowed) expect([number, verdict(number, ...args)]).toEqual([number, ALLOW])
      }),
      { numRuns: 20 },
    )
  })

  test("refuses nothing but that, the calls whose arguments it asks, and numbers that are no calls", () => {
    const conditional: number[] = Object.values(call)
    const always: number[] = [...refused.EPERM, ...refused.ENOSYS]
    for (let number = 0; number < 1024; number++) {
      if (conditional.includes(number)) continue
      const expected = isAssigned(number) && !always.includes(number) ? "allowed" : "refused"
      expect([number, verdict(number) === ALLOW ? "allowed" : "refused"]).toEqual([number, expected])
    }
  })

  test("ends a program that makes a call of another architecture, whichever it is", () => {
    for (const other of foreign) {
      for (const number of [0, 1, 102, call.socket, 0xffffffff]) {
        expect(runFilter(filter, { number, arch: other }).value).toBe(KILL_PROCESS)
      }
    }
    fc.assert(
      fc.property(fc.nat(0xffffffff), fc.nat(0xffffffff), sixWords, (number, other, args) => {
        fc.pre(other !== audit)
        expect(runFilter(filter, { number, arch: other, args }).value).toBe(KILL_PROCESS)
      }),
    )
  })

  test("knows no number that Linux 6.18 gives to no call: neither later ones, nor x32's, nor -1", () => {
    for (const number of [470, 512, 547, 1024, 0x40000000, 0x40000029, 0x7fffffff, 0x80000000, -1]) {
      expect([number, verdict(number)]).toEqual([number, ENOSYS])
    }
    fc.assert(
      fc.property(fc.nat(0xffffffff), sixWords, (number, args) => {
        fc.pre(!isAssigned(number))
        expect(verdict(number, ...args)).toBe(ENOSYS)
      }),
    )
    // A call that x32 shares with x86-64 is refused by its bit alone.
    fc.assert(
      fc.property(fc.nat(1023), (number) => expect(verdict((0x40000000 | number) >>> 0)).toBe(ENOSYS)),
    )
  })

  test("lets sockets be unix, TCP or UDP", () => {
    const [CLOEXEC, NONBLOCK] = [0o2000000, 0o4000]
    for (const flags of [0, CLOEXEC, NONBLOCK, CLOEXEC | NONBLOCK]) {
      for (const type of [1, 2, 3, 5]) expect(verdict(call.socket, 1, type | flags, 0)).toBe(ALLOW)
      for (const family of [2, 10]) {
        for (const type of [1, 2]) expect(verdict(call.socket, family, type | flags, 0)).toBe(ALLOW)
        expect(verdict(call.socket, family, 1 | flags, 6)).toBe(ALLOW)
        expect(verdict(call.socket, family, 2 | flags, 17)).toBe(ALLOW)
      }
    }
    expect(verdict(call.socketpair, 1, 1, 0)).toBe(ALLOW)
  })

  test("refuses every other family of sockets", () => {
    // Netlink, packet, ALG, vsock and XDP among them.
    for (let family = 0; family < 64; family++) {
      if ([1, 2, 10].includes(family)) continue
      for (const type of [1, 2, 3, 5, 0x80003]) {
        expect(verdict(call.socket, family, type, 0)).toBe(EAFNOSUPPORT)
        expect(verdict(call.socketpair, family, type, 0)).toBe(EAFNOSUPPORT)
      }
    }
  })

  test("refuses raw and packet sockets behind the internet families, with and without flags", () => {
    for (const family of [2, 10]) {
      for (const flags of [0, 0o2000000, 0o4000]) {
        // The kernel turns AF_INET with SOCK_PACKET (10) into AF_PACKET.
        for (const type of [3, 10]) expect(verdict(call.socket, family, type | flags, 0x300)).toBe(EPERM)
        for (const type of [4, 5, 6, 7, 11]) {
          expect(verdict(call.socket, family, type | flags, 0)).toBe(ESOCKTNOSUPPORT)
        }
      }
      // ICMP, DCCP, ICMPv6, SCTP, UDP-Lite, SMC and MPTCP.
      for (const protocol of [1, 33, 58, 132, 136, 256, 262]) {
        for (const type of [1, 2]) expect(verdict(call.socket, family, type, protocol)).toBe(EPROTONOSUPPORT)
      }
    }
  })

  test("refuses to type into a terminal, and to change its line discipline", () => {
    for (const request of [0x5412, 0x541c, 0x541d, 0x5423]) {
      for (const fd of [0, 1, 255]) expect(verdict(call.ioctl, fd, request, 0x1000)).toBe(EPERM)
    }
    // TCGETS, TCSETS, TIOCSCTTY, TIOCSPGRP, TIOCGWINSZ, TIOCSWINSZ, FIONREAD, TIOCGETD, TIOCGPTPEER, FICLONE
    for (const request of [
      0x5401, 0x5402, 0x540e, 0x5410, 0x5413, 0x5414, 0x541b, 0x5424, 0x5441, 0x40049409,
    ]) {
      expect([request, verdict(call.ioctl, 0, request)]).toEqual([request, ALLOW])
    }
  })

  test("lets clone make processes and threads, and no namespaces", () => {
    const [fork, vfork, thread] = [0x01200011, 0x4111, 0x3d0f00]
    for (const flags of [fork, vfork, thread, 17]) expect(verdict(call.clone, flags)).toBe(ALLOW)
    const namespaces = [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]
    fc.assert(
      fc.property(fc.nat(0xffffffff), (flags) => {
        const any = namespaces.some((one) => (flags & one) !== 0)
        expect(verdict(call.clone, flags)).toBe(any ? EPERM : ALLOW)
      }),
    )
    for (const one of namespaces) expect(verdict(call.clone, fork | one)).toBe(EPERM)
  })

  test("keeps TLS out of the kernel, and other socket options as they are", () => {
    expect(verdict(call.setsockopt, 3, 6, 31)).toBe(ENOENT)
    // TCP_NODELAY, SO_REUSEADDR, and 31 at the socket's own level (SO_PEERSEC).
    for (const [level, option] of [
      [6, 1],
      [1, 2],
      [1, 31],
    ] as const) {
      expect(verdict(call.setsockopt, 3, level, option)).toBe(ALLOW)
    }
  })

  test("lets a program lock a file, and take no lease on it", () => {
    // F_GETFD, F_SETLK, F_OFD_SETLK, F_GETLEASE, F_DUPFD_CLOEXEC.
    for (const command of [1, 6, 37, 1025, 1030]) expect(verdict(call.fcntl, 3, command)).toBe(ALLOW)
    expect(verdict(call.fcntl, 3, 1024)).toBe(EPERM)
  })

  test("lets a program ask for its personality and fix its layout, and nothing else", () => {
    for (const value of [0, 8, 0x40000, 0xffffffff]) expect(verdict(call.personality, value)).toBe(ALLOW)
    for (const value of [0x20000, 0x100000, 0x200000, 0x400000, 0x440000, 0xfffffffe]) {
      expect(verdict(call.personality, value)).toBe(EPERM)
    }
  })

  test("decides the same whatever the high halves of the arguments hold", () => {
    const low = fc.oneof(
      fc.nat(0xffffffff),
      fc.constantFrom(0x5412, 0x541c, 0x10000011, 1, 2, 10, 16, 40, 3, 6, 17, 31),
    )
    const number = fc.constantFrom(...Object.values(call))
    const halves = fc.array(fc.tuple(low, fc.nat(0xffffffff)), { minLength: 6, maxLength: 6 })
    fc.assert(
      fc.property(number, halves, (one, pairs) => {
        const plain = verdict(one, ...pairs.map(([value]) => value))
        const dressed = verdict(one, ...pairs.map(([value, high]) => (BigInt(high) << 32n) | BigInt(value)))
        expect(dressed).toBe(plain)
      }),
      { numRuns: 2_000 },
    )
    expect(verdict(call.ioctl, 0, 0x1_0000_5412n)).toBe(EPERM)
    expect(verdict(call.ioctl, 0, 0xffffffff_0000_541cn)).toBe(EPERM)
    expect(verdict(call.clone, 0xffffffff_1000_0011n)).toBe(EPERM)
    expect(verdict(call.socket, 0x1_0000_0010n, 3, 0)).toBe(EAFNOSUPPORT)
    expect(verdict(call.socket, 0x1_0000_0002n, 1, 0)).toBe(ALLOW)
  })

  test("looks at no argument of a call that it always allows, so that the kernel caches the answer", () => {
    for (const number of allowed) {
      const { loads, steps } = runFilter(filter, { number, arch: audit })
      expect(loads).toEqual([4, 0])
      expect(steps).toBeLessThan(16)
    }
  })

  test("is described: each refusal with its number, its condition and its reason", () => {
    const denied = deniedCalls(arch)
    const always = denied.filter((one) => one.number !== undefined && one.when === undefined)
    const outcomes = (outcome: string) =>
      always.filter((one) => one.outcome === outcome).map((one) => one.number!)
    const ascending = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)
    expect(ascending(outcomes("EPERM"))).toEqual(ascending(refused.EPERM))
    expect(ascending(outcomes("ENOSYS"))).toEqual(ascending(refused.ENOSYS))
    const sometimes = denied.filter((one) => one.when !== undefined).map((one) => one.number!)
    expect(ascending([...new Set(sometimes)])).toEqual(ascending(Object.values(call)))
    for (const one of denied) expect(one.why.length).toBeGreaterThan(10)
    expect(denied.find((one) => one.outcome === "killed")).toBeDefined()
  })
})

describe("the assembler", () => {
  test("writes instructions as struct sock_filter, little endian", () => {
    const program = new Program()
    const end = label("end")
    program.load(4)
    program.branch("equal", 0xc000003e, { no: end })
    program.return(0x7fff0000)
    program.place(end)
    program.return(0x80000000)
    expect(Buffer.from(program.assemble()).toString("hex")).toBe(
      ["2000000004000000", "150000013e0000c0", "060000000000ff7f", "0600000000000080"].join(""),
    )
  })

  test("refuses a conditional jump that its one byte cannot hold, and takes the longest that it can", () => {
    const skipping = (count: number) => {
      const program = new Program()
      const far = label("far")
      program.branch("equal", 1, { yes: far })
      for (let i = 0; i < count; i++) program.load(0)
      program.place(far)
      program.return(0)
      return program
    }
    expect(skipping(255).assemble()[2]).toBe(255)
    expect(() => skipping(256).assemble()).toThrow('The jump to "far" skips 256 instructions, more than 255')
  })

  test("refuses what the kernel would refuse without a word", () => {
    const faults: [string, (program: Program) => void][] = [
      ["runs off its end", (program) => program.load(0)],
      [
        "stands nowhere",
        (program) => {
          program.branch("equal", 1, { yes: label("lost") })
          program.return(0)
        },
      ],
      [
        "goes back",
        (program) => {
          const back = label("back")
          program.place(back)
          program.load(0)
          program.jump(back)
        },
      ],
      [
        "stands after the end",
        (program) => {
          const after = label("after")
          program.jump(after)
          program.place(after)
        },
      ],
      [
        "stands in two places",
        (program) => {
          const twice = label("twice")
          program.place(twice)
          program.load(0)
          program.place(twice)
        },
      ],
      ["No word at offset 6", (program) => program.load(6)],
      ["No word at offset 64", (program) => program.load(64)],
      ["no unsigned 32-bit number", (program) => program.return(-1)],
      [
        "4097 instructions",
        (program) => {
          for (let i = 0; i < 4096; i++) program.load(0)
          program.return(0)
        },
      ],
    ]
    for (const [message, write] of faults) {
      expect(() => {
        const program = new Program()
        write(program)
        program.assemble()
      }).toThrow(message)
    }
  })
})
