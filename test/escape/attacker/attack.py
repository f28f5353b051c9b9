"""Common part of the attacks, put before each file of them. An attack returns what it got, or raises."""
import ctypes
import errno
import json
import os
import socket
import struct
import sys

ATTACKS = {}
ARG = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
# Longer than any answer on one machine takes, in seconds.
WITHIN = 2.0
libc = ctypes.CDLL(None, use_errno=True)


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def checked(result, what=""):
    """For libc calls: the result, or the error as OSError."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def each(things, function):
    """Tries a function on all things: what any of them got, else every refusal by its thing."""
    refusals = {}
    for thing in things:
        try:
            return f"{thing}: {function(thing)}"
        except Exception as error:
            refusals[str(thing)] = refusal(error)
    raise Refusals(refusals)


class Refusals(Exception):
    pass


def refusal(error):
    if isinstance(error, socket.timeout):
        return "no answer"
    if isinstance(error, socket.gaierror):
        return next(name for name in dir(socket) if name.startswith("EAI_") and getattr(socket, name) == error.errno)
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return f"{type(error).__name__}: {error}"


def main():
    try:
        outcome = {"got": ATTACKS[sys.argv[1]]()}
    except Refusals as error:
        outcome = {"refused": error.args[0]}
    except Exception as error:
        outcome = {"refused": refusal(error)}
    print(json.dumps(outcome))
