"""Ways to wear the gateway down, or to hand it what it should not have."""
import array
import resource
import time


@attack
def hold_connections():
    """Opens as many as it may, tells so in the workspace, and keeps them for a while."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []
    reason = ""
    while len(held) < ARG["count"]:
        client = socket.socket()
        client.settimeout(WITHIN)
        try:
            client.connect(("127.0.0.1", ARG["port"]))
        except OSError as error:
            reason = refusal(error)
            break
        held.append(client)
    os.close(os.open("/workspace/held", os.O_CREAT | os.O_WRONLY))
    time.sleep(WITHIN)
    return {"held": len(held), "reason": reason}


@attack
def stand_in_the_door():
    """As many connections as are let in, that say nothing, and new ones for those that were shown out."""
    held = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(WITHIN)
        client.connect(ARG["path"])
        held = [*held[-100:], client]
        if len(held) == 50:
            os.close(os.open("/workspace/stands", os.O_CREAT | os.O_WRONLY))


@attack
def ask():
    with socket.create_connection(("127.0.0.1", ARG["port"]), WITHIN) as client:
        client.sendall(b"GET http://bottle.internal/policy HTTP/1.1\r\nHost: bottle.internal\r\nConnection: close\r\n\r\n")
        return client.recv(64).decode("latin1")


@attack
def send_descriptors():
    """Open folders of its own, over a socket that only text should go over."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WITHIN)
        client.connect(ARG["path"])
        folders = array.array("i", [os.open("/", os.O_RDONLY) for _ in range(50)])
        sent = client.sendmsg([b"GET / HTTP/1.1\r\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, folders)])
        try:
            client.recv(256)
        except socket.timeout:
            pass
        return sent


main()
