"""Ways to change or reach through files what the sandbox lives on."""
import stat

SOCK = "/run/bottle/sock"


def walk(visit, skip=("/proc", "/sys")):
    folders = ["/"]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.path)
        except OSError:
            continue
        for entry in entries:
            if entry.path in skip or entry.is_symlink():
                continue
            if visit(entry) and entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)


@attack
def writable_places():
    """What it may write to. Folders below a writable one are not looked at."""
    found = []

    def visit(entry):
        if os.access(entry.path, os.W_OK):
            found.append(entry.path)
            return False
        return True

    walk(visit)
    return sorted(found)


@attack
def sockets():
    found = []

    def visit(entry):
        if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
            found.append(entry.path)
        return True

    walk(visit)
    return sorted(found)


def connected(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WITHIN)
        client.connect(path)
        client.sendall(ARG.get("say", "").encode())
        return client.recv(512).decode() if ARG.get("listen") else "connected"


@attack
def connect_to_socket():
    return connected(ARG["path"])


@attack
def create_in():
    path = os.path.join(ARG["folder"], "created-by-the-agent")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)
    return "created"


@attack
def listen_in():
    path = os.path.join(ARG["folder"], "listener.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
    os.unlink(path)
    return "listening"


@attack
def replace():
    """There and back again, for the controls have the socket of a bottle that lives."""
    path = ARG["path"]
    os.rename(path, path + ".away")
    os.rename(path + ".away", path)
    return "replaced"


@attack
def delete():
    os.unlink(ARG["path"])
    return "deleted"


@attack
def overwrite():
    with open(ARG["path"], "r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(content)
    return "overwritten"


@attack
def change_mode():
    os.chmod(ARG["path"], stat.S_IMODE(os.stat(ARG["path"]).st_mode))
    return "changed"


@attack
def listing():
    return {folder: sorted(os.listdir(folder)) for folder in ARG["folders"]}


@attack
def read_process_1():
    """What process 1 shows of itself: its environment, and the root it lives in."""
    with open("/proc/1/environ", "rb") as environ:
        names = sorted(part.split(b"=")[0].decode() for part in environ.read().split(b"\0") if part)
    same = os.path.samefile("/proc/1/root", "/")
    return {"environment": names, "root": "the sandbox's own" if same else "another"}


main()
