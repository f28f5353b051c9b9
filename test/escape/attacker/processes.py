"""Ways into other processes: through the calls made for it, through /proc, and through descriptors that lead out."""
import fcntl
import pty
import signal
import stat
import termios
import time

PTRACE_ATTACH = 16
NUMBERS = {"process_vm_readv": (310, 270), "ptrace": (101, 117), "pidfd_getfd": (438, 438)}


def call(name, *arguments):
    number = NUMBERS[name][os.uname().machine == "aarch64"]
    return checked(libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(one) for one in arguments)), name)


class Sleeper:
    """A child that does nothing, and ends with the scope."""

    def __enter__(self):
        self.pid = os.fork()
        if self.pid == 0:
            signal.pause()
        return self.pid

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@attack
def trace_a_process():
    with Sleeper() as pid:
        call("ptrace", PTRACE_ATTACH, pid, 0, 0)
        return "traced"


@attack
def read_memory_of_a_process():
    class Piece(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    secret, found = ctypes.create_string_buffer(b"of the child"), ctypes.create_string_buffer(16)
    with Sleeper() as pid:
        local = Piece(ctypes.addressof(found), 12)
        remote = Piece(ctypes.addressof(secret), 12)
        call("process_vm_readv", pid, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0)
        return found.value.decode()


@attack
def take_a_descriptor_of_process_1():
    handle = os.pidfd_open(1)
    return call("pidfd_getfd", handle, 0, 0)


@attack
def type_into_a_terminal():
    """On a terminal of its own, which is where the call works for whoever may make it at all."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            slave = pty.openpty()[1]
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            fcntl.ioctl(slave, termios.TIOCSTI, b"x")
            os.write(write, b"0")
        except OSError as error:
            os.write(write, str(error.errno).encode())
        os._exit(0)
    os.waitpid(child, 0)
    code = int(os.read(read, 16))
    if code != 0:
        raise OSError(code, "TIOCSTI")
    return "typed"


@attack
def change_program_of_process_1():
    """The file that it was started from, which is no file of the sandbox's."""
    path = "/proc/1/exe"

    def write():
        os.close(os.open(path, os.O_WRONLY))

    ways = {"mode": lambda: os.chmod(path, 0o6755), "times": lambda: os.utime(path, (1, 1)), "content": write}
    return each(ways, lambda name: ways[name]() or "changed")


def everybody():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


@attack
def processes_that_hold():
    """Processes with these words in their environment or arguments. They come reversed, to be in none of ours."""
    needle = ARG["reversed"][::-1].encode()
    found = []
    for pid in everybody():
        for where in ("environ", "cmdline"):
            try:
                with open(f"/proc/{pid}/{where}", "rb") as file:
                    if needle in file.read():
                        found.append(where)
            except OSError:
                pass
    return found


@attack
def seen_of_process():
    process = f"/proc/{ARG['pid']}"
    with open(f"{process}/environ", "rb") as environ:
        names = sorted(part.split(b"=")[0].decode() for part in environ.read().split(b"\0") if part)
    with open(f"{process}/status") as lines:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
    places = [os.path.samefile(f"{process}/{name}", "/") for name in ("root", "cwd")]
    kept = ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "Uid"]
    return {"environment": names, "places": places, "status": {name: status[name] for name in kept}}


def descriptors():
    """Every open file of every process, its root and its folder, as paths that open the same."""
    for pid in everybody():
        yield f"/proc/{pid}/root"
        yield f"/proc/{pid}/cwd"
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                yield f"/proc/{pid}/fd/{fd}"
        except OSError:
            pass


@attack
def climb():
    """From every folder that any process holds, up to where `..` leads no further: which of them are not our root."""
    top = os.stat("/")
    found = []
    for path in descriptors():
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                continue
            folder = os.open(path, os.O_PATH | os.O_DIRECTORY)
            while not os.path.sameopenfile(folder, above := os.open("..", os.O_PATH | os.O_DIRECTORY, dir_fd=folder)):
                folder = above
            here = os.fstat(folder)
        except OSError:
            continue
        if (here.st_dev, here.st_ino) != (top.st_dev, top.st_ino):
            found.append(sorted(os.listdir(f"/proc/self/fd/{folder}"))[:50])
    return found


@attack
def descriptors_of_files():
    """What of files and folders it was given open, by where they lead; streams and the kernel's own are none."""
    own = {f"/proc/{os.getpid()}/fd/{fd}" for fd in os.listdir("/proc/self/fd")} if "others" in ARG else set()
    found = set()
    for path in descriptors():
        if "/fd/" not in path or path in own:
            continue
        try:
            leads = os.readlink(path)
        except OSError:
            continue
        if leads.startswith("/") and not leads.startswith(("/dev/", "/proc/")):
            found.add(leads)
    return sorted(found)


@attack
def end_everybody():
    """With all that it may send a signal to; it does not see what came of it, for itself is one of them."""
    os.kill(-1, signal.SIGKILL)
    time.sleep(WITHIN)
    return [pid for pid in everybody() if pid != os.getpid()]


@attack
def signal_one():
    os.kill(ARG["pid"], 0)
    return "may"


@attack
def read_of_a_process():
    def opened(name):
        path = f"/proc/{ARG['pid']}/{name}"
        if name in ("fd", "root/", "cwd/"):
            return len(os.listdir(path)) >= 0
        with open(path, "rb", buffering=0) as file:
            # Nothing is mapped at 0, and only who may read memory comes as far as that.
            return name == "mem" or len(file.read(16)) >= 0

    return each(ARG["names"], opened)


@attack
def lease_on_an_own_file():
    with open("/tmp/own", "w+b") as file:
        fcntl.fcntl(file, 1024, fcntl.F_WRLCK)
        fcntl.fcntl(file, 1024, fcntl.F_UNLCK)
    return "leased"


main()
