"""Ways to more power over the kernel than the sandbox gives."""
import re
import signal
import stat
import subprocess
import tempfile
import time

CLONE_NEW = {"user": 0x10000000, "network": 0x40000000, "mount": 0x20000, "pid": 0x20000000, "ipc": 0x08000000}


@attack
def status():
    with open("/proc/self/status") as lines:
        found = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
    return {name: found[name] for name in ARG["fields"]}


@attack
def become_root():
    line = "import os; print(os.geteuid())"
    uid = int(subprocess.run(["/usr/local/bin/root-python", "-c", line], capture_output=True, check=True).stdout)
    if uid != 0:
        raise PermissionError(errno.EPERM, f"the program ran as {uid}")
    return "root"


def in_child(function):
    """In a process of its own, so that the attacker stays who he is."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            os.write(write, json.dumps({"got": function()}).encode())
        except OSError as error:
            os.write(write, json.dumps({"errno": error.errno}).encode())
        os._exit(0)
    os.close(write)
    os.wait()
    answer = json.loads(os.read(read, 4096))
    if "errno" in answer:
        raise OSError(answer["errno"], os.strerror(answer["errno"]))
    return answer["got"]


@attack
def new_namespace():
    return in_child(lambda: checked(libc.unshare(CLONE_NEW[ARG["kind"]])))


@attack
def cloned_into_a_user_namespace():
    def clone():
        SYS_CLONE, SIGCHLD = {"x86_64": 56, "aarch64": 220}[os.uname().machine], 17
        child = checked(libc.syscall(SYS_CLONE, CLONE_NEW["user"] | SIGCHLD, 0, 0, 0, 0))
        if child == 0:
            os._exit(0)
        return "cloned"

    return in_child(clone)


@attack
def join_namespace_of_process_1():
    def join(kind):
        fd = os.open(f"/proc/1/ns/{kind}", os.O_RDONLY)
        return checked(libc.setns(fd, 0))

    return each(["net", "mnt", "uts", "ipc"], lambda kind: in_child(lambda: join(kind)))


@attack
def mount_a_file_system():
    target = tempfile.mkdtemp()
    return in_child(lambda: checked(libc.mount(b"none", target.encode(), b"tmpfs", 0, None)))


@attack
def remount_the_sockets_writable():
    MS_REMOUNT_BIND = 32 | 4096
    path = b"/run/bottle/sock"
    return in_child(lambda: checked(libc.mount(b"none", path, None, MS_REMOUNT_BIND, None)))


@attack
def unmount_the_sockets():
    return in_child(lambda: checked(libc.umount2(b"/run/bottle/sock", 2)))


@attack
def change_root():
    return in_child(lambda: os.chroot("/tmp"))


@attack
def make_a_device():
    path = os.path.join(tempfile.mkdtemp(), "disk")
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(ARG["major"], ARG["minor"]))
    return "made"


@attack
def open_devices():
    def opened(name):
        os.close(os.open(f"/dev/{name}", os.O_RDONLY))
        return "opened"

    return each(["mem", "kmsg", "kvm", "fuse", "net/tun", "sda", "vda", "nvme0n1", "vhost-vsock", "loop0"], opened)


@attack
def open_kernel_settings():
    """Opened for writing, and not written to: a control would change the machine."""

    def opened(path):
        os.close(os.open(path, os.O_WRONLY))
        return "opened"

    return each(ARG["paths"], opened)


# Numbers are the same on all platforms from 424 on; the older ones are of x86_64 and aarch64.
OLD_CALLS = {"add_key": (248, 217), "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241)}
NEW_CALLS = {"io_uring_setup": 425, "open_tree": 428, "fsopen": 430}


@attack
def system_call():
    """Whether a call gets past the filter: with arguments that mean nothing, every other answer says so."""
    name = ARG["name"]
    number = NEW_CALLS.get(name) or OLD_CALLS[name][os.uname().machine == "aarch64"]
    code = 0 if libc.syscall(number, 0, 0, 0, 0, 0) >= 0 else ctypes.get_errno()
    if code in (errno.EPERM, errno.ENOSYS, errno.EACCES):
        raise OSError(code, name)
    return errno.errorcode.get(code, "done")


@attack
def processes_of_the_host():
    seen = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                seen.append(line.read().split(b"\0")[0].decode())
        except OSError:
            pass
    return [name for name in seen if name.endswith("dockerd")]


@attack
def memory_of_everyone():
    """Which processes hold the needle, in memory, environment or arguments; it comes reversed, to be in none of ours."""
    needle = ARG["reversed"][::-1].encode()
    found = []
    own = {os.getpid()}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if pid in own:
            continue
        for where, holds in (("environ", in_file), ("cmdline", in_file), ("mem", in_memory)):
            try:
                if holds(pid, where, needle):
                    found.append(f"{where} of {pid}")
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESRCH):
                    found.append(f"{where} of {pid} cannot be read: {refusal(error)}")
    return found


def in_file(pid, where, needle):
    with open(f"/proc/{pid}/{where}", "rb") as file:
        return needle in file.read()


def in_memory(pid, _, needle):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            start, end, mode = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if mode.startswith("rw") and holds_between(memory, int(start, 16), int(end, 16), needle):
                return True
    return False


def holds_between(memory, start, end, needle):
    STEP = 1 << 22
    for at in range(start, end, STEP):
        try:
            memory.seek(at)
            # A little more than a step, so that nothing hides on the border.
            if needle in memory.read(min(STEP + len(needle), end - at)):
                return True
        except (OSError, OverflowError, ValueError):
            continue
    return False


@attack
def processes_at_once():
    """How many processes it can have at once, up to a number; where it tells of that, it keeps them for a while."""
    children = []
    try:
        while len(children) < ARG["up_to"]:
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
        return len(children)
    finally:
        if "tell" in ARG:
            os.mkdir(ARG["tell"])
            time.sleep(ARG["keep_seconds"])
        for child in children:
            os.kill(child, 9)
        for child in children:
            os.waitpid(child, 0)


@attack
def memory_at_once():
    """How much memory it can fill, in a process that may be killed for it."""
    child = os.fork()
    if child == 0:
        # The kernel ends the one who asks for too much, and not the agent.
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        block = bytearray(ARG["bytes"])
        for at in range(0, len(block), 4096):
            block[at] = 1
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        raise MemoryError(f"it was ended with {code}")
    return "filled"


main()
