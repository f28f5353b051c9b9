"""Ways out of a sandbox through the network, without and with tricks."""
SO_BINDTODEVICE = 25
AF_VSOCK = 40


def question(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", 0x6272, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def tcp(address, family=socket.AF_INET, say=b""):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(WITHIN)
        client.connect(address)
        client.sendall(say)
        return client.recv(512).decode("latin1")


def udp(address, family=socket.AF_INET, say=b"hello", prepare=None):
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(WITHIN)
        if prepare:
            prepare(client)
        client.sendto(say, address)
        return client.recv(512).decode("latin1")


@attack
def dns_over_udp():
    return each(ARG["resolvers"], lambda resolver: udp((resolver, 53), say=question(ARG["name"])))


@attack
def dns_over_tcp():
    asked = question(ARG["name"])
    return each(ARG["resolvers"], lambda r: tcp((r, 53), say=struct.pack(">H", len(asked)) + asked))


@attack
def getaddrinfo():
    return socket.getaddrinfo(ARG["name"], 443)[0][4][0]


@attack
def tcp_to_addresses():
    return each(ARG["addresses"], lambda address: tcp((address, ARG["port"])))


@attack
def udp_to_addresses():
    return each(ARG["addresses"], lambda address: udp((address, ARG["port"])))


@attack
def tcp_to_metadata():
    return tcp((ARG["metadata"], ARG["port"]))


def interfaces():
    return sorted({name for _, name in socket.if_nameindex()} | set(ARG["interfaces"]))


@attack
def udp_bound_to_a_device():
    def through(name):
        bind = lambda client: client.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, name.encode() + b"\0")
        return udp((ARG["addresses"][0], ARG["port"]), prepare=bind)

    return each(interfaces(), through)


@attack
def ipv6_to_addresses():
    return each(ARG["addresses6"], lambda address: udp((address, ARG["port6"]), socket.AF_INET6))


@attack
def ipv6_link_local_and_multicast():
    def to(target):
        address, name = target
        return udp((address, ARG["port6"], 0, socket.if_nametoindex(name)), socket.AF_INET6)

    here = {name for _, name in socket.if_nameindex()}
    return each([(a, n) for a in ARG["link_local"] for n in here], to)


@attack
def ipv4_broadcast_and_multicast():
    def to(address):
        prepare = lambda client: client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return udp((address, ARG["port"]), prepare=prepare)

    return each(["255.255.255.255", "224.0.0.1"], to)


@attack
def raw_socket():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    return "opened"


@attack
def packet_socket():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)).close()
    return "opened"


def netlink(kind, body):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        # request, acknowledge, create, exclusive
        kernel.send(struct.pack("=IHHII", 16 + len(body), kind, 0x1 | 0x4 | 0x200 | 0x400, 1, 0) + body)
        code = struct.unpack("=i", kernel.recv(4096)[16:20])[0]
    if code != 0:
        raise OSError(-code, os.strerror(-code))
    return "accepted"


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


@attack
def add_an_address():
    local = socket.inet_aton("198.51.100.7")
    message = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, socket.if_nametoindex("lo"))
    return netlink(20, message + attribute(2, local) + attribute(1, local))


@attack
def add_an_interface():
    info = attribute(18, attribute(1, b"bridge\0"))
    return netlink(16, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(3, b"way-out\0") + info)


@attack
def add_a_route():
    message = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 254, 3, 253, 1, 0)
    to = attribute(1, socket.inet_aton("198.51.100.9"))
    return netlink(24, message + to + attribute(4, struct.pack("=I", socket.if_nametoindex("lo"))))


@attack
def abstract_unix_socket():
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WITHIN)
        client.connect("\0" + ARG["abstract"])
        return client.recv(512).decode()


@attack
def vsock_socket():
    socket.socket(AF_VSOCK, socket.SOCK_STREAM).close()
    return "opened"


main()
