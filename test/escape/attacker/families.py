"""Sockets of every kind, by socket() and by io_uring, and calls by the numbers of other architectures."""
import mmap
import signal

SETUP, ENTER = 425, 426
OP_SOCKET = 45
FAMILIES = {"unix": 1, "inet": 2, "netlink": 16, "packet": 17, "alg": 38, "vsock": 40}
SQ_RING, CQ_RING, SQES = 0, 0x8000000, 0x10000000


@attack
def by_socket():
    kind = socket.SOCK_SEQPACKET if ARG["family"] == "alg" else ARG.get("kind", socket.SOCK_RAW)
    if ARG["family"] == "vsock":
        kind = socket.SOCK_STREAM
    os.close(checked(libc.socket(FAMILIES[ARG["family"]], kind, 0)))
    return "opened"


@attack
def by_io_uring():
    """One entry in a ring: a socket that no call named socket() has made."""
    parameters = bytearray(120)
    place = (ctypes.c_char * 120).from_buffer(parameters)
    ring = checked(libc.syscall(ctypes.c_long(SETUP), ctypes.c_uint(4), place), "io_uring_setup")
    offsets = struct.unpack_from("=10I", parameters, 40)
    tail_at, array_at = offsets[1], offsets[6]
    completed = struct.unpack_from("=10I", parameters, 80)
    entries_at = completed[5]
    queue = mmap.mmap(ring, 4096, offset=SQ_RING)
    answers = mmap.mmap(ring, 4096, offset=CQ_RING)
    orders = mmap.mmap(ring, 4096, offset=SQES)
    family = FAMILIES[ARG["family"]]
    kind = socket.SOCK_STREAM if ARG["family"] in ("vsock", "unix", "inet") else socket.SOCK_RAW
    if ARG["family"] == "alg":
        kind = socket.SOCK_SEQPACKET
    # struct io_uring_sqe: opcode, flags, ioprio, fd, off, addr, len, rw_flags, user_data
    struct.pack_into("=BBHiQQIIQ", orders, 0, OP_SOCKET, 0, 0, family, kind, 0, 0, 0, 0)
    struct.pack_into("=I", queue, array_at, 0)
    struct.pack_into("=I", queue, tail_at, 1)
    checked(libc.syscall(ctypes.c_long(ENTER), ring, 1, 1, 1, None, ctypes.c_size_t(0)), "io_uring_enter")
    made = struct.unpack_from("=Qi", answers, entries_at)[1]
    if made < 0:
        raise OSError(-made, os.strerror(-made))
    return "opened"


def in_child(function):
    """Its result, or the signal that ended it: a filter may end who makes such a call."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(function()).encode())
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        raise ProcessLookupError(errno.ESRCH, "ended") if status == 0 else Ended(signal.Signals(os.WTERMSIG(status)).name)
    return int(os.read(read, 32))


class Ended(Exception):
    pass


@attack
def by_the_calls_of_i386():
    """socketcall(SYS_SOCKET, [AF_NETLINK, SOCK_RAW, 0]) by int 0x80: other numbers, and arguments in memory."""
    low = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, prot=7)
    address = ctypes.addressof(ctypes.c_char.from_buffer(low))
    struct.pack_into("=3I", low, 256, FAMILIES["netlink"], socket.SOCK_RAW, 0)
    # push rbx; mov eax, 102; mov ebx, 1; mov ecx, arguments; int 0x80; pop rbx; ret
    code = b"\x53\xb8\x66\0\0\0\xbb\1\0\0\0\xb9" + struct.pack("=I", address + 256) + b"\xcd\x80\x5b\xc3"
    low[: len(code)] = code
    made = in_child(lambda: ctypes.CFUNCTYPE(ctypes.c_int)(address)())
    if made < 0:
        raise OSError(-made, os.strerror(-made))
    return "opened"


@attack
def by_the_calls_of_x32():
    def made():
        result = libc.syscall(ctypes.c_long(0x40000000 + 41), FAMILIES["netlink"], socket.SOCK_RAW, 0)
        return result if result >= 0 else -ctypes.get_errno()

    got = in_child(made)
    if got < 0:
        raise OSError(-got, os.strerror(-got))
    return "opened"


main()
