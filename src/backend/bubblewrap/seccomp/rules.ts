/**
 * The policy of the system call filter: which calls are refused, with which error, and why. What is not named here is
 * allowed, as long as Linux 6.18 has it. Compared with the default profiles of Docker, Podman, systemd-nspawn and
 * Flatpak; where they differ, programs that developers run decide.
 *
 * The error is part of the policy. EPERM says "not here". ENOSYS says "this kernel does not know the call", which
 * programs that try a new call first take as the sign to use the old one.
 *
 * Allowed on purpose: seccomp and landlock (they only ever take away, and agents' own sandboxes use them), mlock, aio,
 * splice, pidfd_open, memfd_secret, pkeys, userspace probes, and prctl, arch_prctl and setpriority with all they do
 * to the caller alone.
 */
import type { X64 } from "./syscalls-x64.ts"

/** Every call that the policy can name: x86-64 has all of them */
export type SyscallName = keyof typeof X64.numbers

/** linux/errno.h, the same on both architectures */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ENOSYS: 38,
  EPROTONOSUPPORT: 93,
  ESOCKTNOSUPPORT: 94,
  EAFNOSUPPORT: 97,
}
export type ErrnoName = keyof typeof ERRNO

/** Calls that are refused whatever their arguments. */
export interface RefusedCalls {
  calls: readonly SyscallName[]
  errno: ErrnoName
  /** What the calls could do */
  why: string
}

/**
 * One question to one argument. Only its low 32 bits are asked: all arguments here are `int` or `unsigned int` to the
 * kernel, and filters that compared 64 bits were passed by setting a high one (CVE-2019-7303 in snapd, CVE-2019-10063
 * in Flatpak).
 */
export interface ArgumentTest {
  /** Position of the argument, from 0 */
  argument: number
  /** Bits that are looked at; absent is all 32 */
  mask?: number
  /** Holds when the value is, or is not, one of these, or has any of these bits */
  is: "oneOf" | "noneOf" | "anyBitOf"
  values: readonly number[]
}

/** Calls that are refused when all tests hold. Rules of one call are asked in their order. */
export interface ArgumentRule {
  calls: readonly SyscallName[]
  tests: readonly ArgumentTest[]
  errno: ErrnoName
  /** Which calls the tests mean, in words */
  when: string
  /** What the calls could do */
  why: string
}

export const REFUSED_CALLS: readonly RefusedCalls[] = [
  {
    calls: ["ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp"],
    errno: "EPERM",
    why: "reads, changes or takes files from other processes (CVE-2019-13272); before Linux 4.8 a tracer could pass any filter",
  },
  {
    calls: ["io_uring_setup", "io_uring_enter", "io_uring_register"],
    errno: "EPERM",
    why: "opens and connects sockets that no filter sees (IORING_OP_SOCKET), and a large attack surface (CVE-2022-29582, CVE-2023-2598); EPERM is what kernel.io_uring_disabled answers",
  },
  {
    calls: ["bpf"],
    errno: "EPERM",
    why: "loads programs into the kernel, whose verifier was fooled again and again (CVE-2020-8835, CVE-2021-3490, CVE-2022-23222)",
  },
  {
    calls: ["perf_event_open"],
    errno: "EPERM",
    why: "observes the kernel and other processes, and a large attack surface (CVE-2013-2094)",
  },
  {
    calls: ["userfaultfd"],
    errno: "EPERM",
    why: "stops the kernel in the middle of a copy, which turns its races into certain ones (vm.unprivileged_userfaultfd)",
  },
  {
    calls: ["add_key", "request_key", "keyctl"],
    errno: "EPERM",
    why: "kernel keyrings are counted and named per host user, not per sandbox (CVE-2016-0728)",
  },
  {
    calls: [
      "mount",
      "umount2",
      "pivot_root",
      "chroot",
      "move_mount",
      "open_tree",
      "open_tree_attr",
      "fsopen",
      "fsconfig",
      "fsmount",
      "fspick",
      "mount_setattr",
    ],
    errno: "EPERM",
    why: "changes what the sandbox sees of the file system (CVE-2022-0185 in fsconfig)",
  },
  {
    calls: ["statmount", "listmount"],
    errno: "ENOSYS",
    why: "reads mounts of other namespaces by their id; /proc/self/mountinfo, which callers fall back to, shows the own ones",
  },
  {
    calls: ["unshare", "setns"],
    errno: "EPERM",
    why: "makes or enters namespaces, where an ordinary user may reach code meant for root (CVE-2023-32233, CVE-2024-1086)",
  },
  {
    calls: ["clone3"],
    errno: "ENOSYS",
    why: "has its flags in memory, where a filter cannot see CLONE_NEW*; the C libraries fall back to clone",
  },
  {
    calls: ["open_by_handle_at", "name_to_handle_at"],
    errno: "EPERM",
    why: "opens files by inode, past all mounts: the container escape of 2014 named shocker",
  },
  {
    calls: ["fanotify_init", "fanotify_mark"],
    errno: "EPERM",
    why: "watches whole file systems; tools that watch folders use inotify",
  },
  {
    calls: [
      "move_pages",
      "migrate_pages",
      "mbind",
      "set_mempolicy",
      "set_mempolicy_home_node",
      "get_mempolicy",
    ],
    errno: "EPERM",
    why: "places memory, also that of others (CVE-2017-14140); all six, because libnuma takes a refused get_mempolicy as a machine without NUMA and then asks no more",
  },
  {
    calls: ["lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules"],
    errno: "ENOSYS",
    why: "changes security labels; libraries fall back to /proc/self/attr, which has less",
  },
  {
    calls: ["kexec_load", "kexec_file_load", "reboot", "init_module", "finit_module", "delete_module"],
    errno: "EPERM",
    why: "replaces or extends the running kernel",
  },
  {
    calls: ["swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup"],
    errno: "EPERM",
    why: "administers the host; its log holds kernel addresses",
  },
  {
    calls: ["settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname"],
    errno: "EPERM",
    why: "sets the host's clock, which no namespace separates, or its names",
  },
  {
    calls: ["iopl", "ioperm"],
    errno: "EPERM",
    why: "gives access to the machine's I/O ports",
  },
  {
    calls: ["modify_ldt"],
    errno: "EPERM",
    why: "writes segment descriptors, which 64-bit programs do not use (CVE-2017-17053)",
  },
  {
    calls: [
      "_sysctl",
      "create_module",
      "get_kernel_syms",
      "query_module",
      "nfsservctl",
      "lookup_dcookie",
      "vserver",
      "uselib",
      "ustat",
      "sysfs",
    ],
    errno: "ENOSYS",
    why: "obsolete: removed from Linux or about to be, and code that nobody looks after (CVE-2004-1235 in uselib)",
  },
]

const [AF_UNIX, AF_INET, AF_INET6] = [1, 2, 10]
const [SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_PACKET] = [1, 2, 3, 10]
/** SOCK_NONBLOCK and SOCK_CLOEXEC share the argument with the type */
const SOCK_TYPE_MASK = 0xf
const [IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP] = [0, 6, 17]
const TCP_ULP = 31
const [TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD] = [0x5412, 0x541c, 0x541d, 0x5423]
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET; NEWTIME is a bit of clone's exit signal */
const CLONE_NEW = 0x7e020000
const F_SETLEASE = 1024
const [PER_LINUX, PER_LINUX32, ADDR_NO_RANDOMIZE, QUERY] = [0, 0x8, 0x40000, 0xffffffff]

const inet: ArgumentTest = { argument: 0, is: "oneOf", values: [AF_INET, AF_INET6] }

/**
 * EAFNOSUPPORT is what libaudit takes as a kernel without audit, so that useradd and its kin go on. node has no error at
 * which os.networkInterfaces() does not throw (seen with node 20, ENOSYS included).
 */
export const ARGUMENT_RULES: readonly ArgumentRule[] = [
  {
    calls: ["ioctl"],
    tests: [{ argument: 1, is: "oneOf", values: [TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD] }],
    errno: "EPERM",
    when: "the request is TIOCSTI, TIOCLINUX, TIOCCONS or TIOCSETD",
    why: "types into a terminal (CVE-2017-5226 in bubblewrap, CVE-2023-28100 in Flatpak), takes over the console's output, or loads a line discipline (CVE-2017-2636, CVE-2023-6546)",
  },
  {
    calls: ["clone"],
    tests: [{ argument: 0, is: "anyBitOf", values: [CLONE_NEW] }],
    errno: "EPERM",
    when: "a CLONE_NEW* flag is set",
    why: "makes namespaces, where an ordinary user may reach code meant for root (CVE-2023-32233, CVE-2024-1086)",
  },
  {
    calls: ["socket", "socketpair"],
    tests: [{ argument: 0, is: "noneOf", values: [AF_UNIX, AF_INET, AF_INET6] }],
    errno: "EAFNOSUPPORT",
    when: "the family is none of AF_UNIX, AF_INET and AF_INET6",
    why: "other families pass network namespaces (AF_VSOCK reaches the hypervisor) or are large and seldom used (CVE-2016-8655 in AF_PACKET, CVE-2021-26708 in AF_VSOCK); AF_NETLINK configures networks and reaches netfilter and xfrm (CVE-2024-1086). The price: getifaddrs() fails, and with it os.networkInterfaces() of node",
  },
  {
    calls: ["socket"],
    tests: [inet, { argument: 1, mask: SOCK_TYPE_MASK, is: "oneOf", values: [SOCK_RAW, SOCK_PACKET] }],
    errno: "EPERM",
    when: "an internet socket has the type SOCK_RAW or SOCK_PACKET",
    why: "makes packets by hand; the kernel turns AF_INET with SOCK_PACKET into AF_PACKET, past a filter of families",
  },
  {
    calls: ["socket"],
    tests: [inet, { argument: 1, mask: SOCK_TYPE_MASK, is: "noneOf", values: [SOCK_STREAM, SOCK_DGRAM] }],
    errno: "ESOCKTNOSUPPORT",
    when: "an internet socket has another type than SOCK_STREAM and SOCK_DGRAM",
    why: "loads protocols that nothing here speaks: SCTP, DCCP (CVE-2017-6074)",
  },
  {
    calls: ["socket"],
    tests: [inet, { argument: 2, is: "noneOf", values: [IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP] }],
    errno: "EPROTONOSUPPORT",
    when: "an internet socket has another protocol than TCP and UDP",
    why: "the same for protocols that hide behind an ordinary type: SCTP, MPTCP, SMC, ping (CVE-2015-3636); Go takes the refusal of MPTCP as a kernel without it",
  },
  {
    calls: ["fcntl"],
    tests: [{ argument: 1, is: "oneOf", values: [F_SETLEASE] }],
    errno: "EPERM",
    when: "the command is F_SETLEASE",
    why: "makes whoever opens the file outside wait, up to 45 seconds: an ordinary user's agent owns, by its uid, the files of that user that it may only read. File servers use it",
  },
  {
    calls: ["setsockopt"],
    tests: [
      { argument: 1, is: "oneOf", values: [IPPROTO_TCP] },
      { argument: 2, is: "oneOf", values: [TCP_ULP] },
    ],
    errno: "ENOENT",
    when: "the option is TCP_ULP",
    why: "loads TLS or SMC into the kernel under a TCP socket (CVE-2023-0461); ENOENT is the answer of a kernel that has them not, and TLS libraries go on without",
  },
  {
    calls: ["personality"],
    tests: [{ argument: 0, is: "noneOf", values: [PER_LINUX, PER_LINUX32, ADDR_NO_RANDOMIZE, QUERY] }],
    errno: "EPERM",
    when: "the value is none of PER_LINUX, PER_LINUX32, ADDR_NO_RANDOMIZE and the query",
    why: "selects memory layouts and behaviours of old systems (CVE-2009-1895, CVE-2012-0957); a fixed layout weakens the caller alone, and ThreadSanitizer and SBCL need it",
  },
]
