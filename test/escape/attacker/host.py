"""What is the host's alone: its files, its shared memory, its queues, its sockets."""
import shutil
import stat
import subprocess

IPC_CREAT, IPC_RMID = 0o1000, 0


def first_bytes(path):
    if os.path.isdir(path):
        return f"{len(os.listdir(path))} names"
    with open(path, "rb") as file:
        return file.read(256).decode("latin1")


@attack
def read_any():
    return each(ARG["paths"], first_bytes)


@attack
def open_for_writing():
    """Opened, and not written to: a control would change the machine."""

    def opened(path):
        os.close(os.open(path, os.O_WRONLY))
        return "opened"

    return each(ARG["paths"], opened)


@attack
def names_of_the_host():
    """Which of these words stand anywhere in what /proc tells of mounts, or in its own environment."""
    told = "".join(open(f"/proc/self/{name}").read() for name in ("mountinfo", "mounts", "environ"))
    return [word for word in ARG["words"] if word in told]


@attack
def hard_link():
    """A second name for a file that it may only read, where it may write."""
    name = os.path.join(ARG["into"], "second-name")
    os.link(ARG["path"], name)
    os.unlink(name)
    return "linked"


@attack
def shared_memory():
    segment = checked(libc.shmget(ARG["key"], 0, 0))
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(segment, None, 0o10000)
    if at in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "shmat")
    return ctypes.string_at(at).decode()


@attack
def message_queue():
    rt = ctypes.CDLL("librt.so.1", use_errno=True)
    os.close(checked(rt.mq_open(ARG["name"].encode(), os.O_RDONLY)))
    return "opened"


@attack
def connect_to_any():
    def said(path):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(WITHIN)
            client.connect(path)
            return client.recv(64).decode()

    return each(ARG["paths"], said)


def set_id_programs():
    for folder in ("/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/lib/openssh"):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            about = os.lstat(os.path.join(folder, name))
            if stat.S_ISREG(about.st_mode) and about.st_mode & stat.S_ISUID and about.st_mode & 0o001:
                yield os.path.join(folder, name)


@attack
def run_as_root():
    """
    The dynamic linker shows what the kernel told it (LD_SHOW_AUXV, ld.so(8)), the user that the program runs as among
    it; in a program that runs as somebody else it keeps silent, which is how one is known.
    """
    tried = {}
    for path in set_id_programs():
        done = subprocess.run(
            [path, "--version"],
            env={"LD_SHOW_AUXV": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=5,
        )
        told = [line.split()[1] for line in done.stdout.decode("latin1").splitlines() if line.startswith("AT_EUID:")]
        if told != [str(os.geteuid())]:
            return f"{path} ran as another"
        tried[path] = "EPERM"
    raise Refusals(tried)


@attack
def make_set_id_copy():
    """A program that makes whoever runs it the agent's user, left where the host keeps the work."""
    path = os.path.join(ARG["folder"], "become-the-agent")
    shutil.copy(os.path.realpath("/usr/bin/python3"), path)
    os.chmod(path, 0o6755)
    return oct(stat.S_IMODE(os.stat(path).st_mode))


@attack
def fill():
    """As much as a file may hold, up to so many bytes."""
    path = os.path.join(ARG["folder"], "filling")
    block = os.urandom(1 << 20)
    written = 0
    with open(path, "wb", buffering=0) as file:
        while written < ARG["bytes"]:
            written += file.write(block)
    return written


main()
