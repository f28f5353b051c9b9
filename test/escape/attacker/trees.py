"""What an agent leaves in its folders for whoever reads, copies or removes them after it."""
import stat

# Deeper than a path can be long: 4096 bytes (limits.h).
DEEP = 900


def trap(name, make):
    """What cannot be made here, by a user who may not, is no trap."""
    try:
        make(name)
    except PermissionError:
        return None
    return name


def nested(name):
    here = os.getcwd()
    for _ in range(DEEP):
        os.mkdir(name)
        os.chdir(name)
    with open("at-the-end", "w") as file:
        file.write("deep")
    os.chdir(here)


def locked(name):
    os.mkdir(name)
    with open(os.path.join(name, "inside"), "w") as file:
        file.write("locked")
    os.chmod(name, 0)


@attack
def leave_traps():
    os.chdir(ARG["folder"])
    target = ARG["target"]
    kinds = {
        "to-a-folder": lambda name: os.symlink(target, name),
        "to-a-file": lambda name: os.symlink(f"{target}/precious", name),
        "to-root": lambda name: os.symlink("/", name),
        "by-dots": lambda name: os.symlink("../" * 40 + target.lstrip("/"), name),
        "through-proc": lambda name: os.symlink("/proc/self/cwd/../../../etc", name),
        "to-itself": lambda name: os.symlink(name, name),
        "deep": nested,
        "locked": locked,
        "pipe": lambda name: os.mkfifo(name),
        "-rf": lambda name: os.mkdir(name),
        "\x1b]0;owned\x07\n.": lambda name: os.mkdir(name),
        "device": lambda name: os.mknod(name, stat.S_IFBLK | 0o666, os.makedev(7, 0)),
        "socket": lambda name: socket.socket(socket.AF_UNIX).bind(name),
    }
    made = [name for name, make in kinds.items() if trap(name, make)]
    os.chmod(".", 0o500)
    return made


@attack
def look_at_copy():
    """What came of the entries of a copied tree: kind, mode, and what can be read through it."""
    found = {}
    for name in sorted(os.listdir(ARG["folder"])):
        path = os.path.join(ARG["folder"], name)
        about = os.lstat(path)
        try:
            with open(path, "rb") as file:
                read = file.read(64).decode()
        except OSError as error:
            read = refusal(error)
        found[name] = [stat.filemode(about.st_mode), read]
    return found


@attack
def write_into():
    with open(ARG["path"], "r+") as file:
        file.write(ARG["text"])
    return "written"


main()
