"""A network of its own for this process and its children: loopback and nothing else."""
import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def isolate():
    """Leave the host's network for good.  OSError where the system does not allow it."""
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), 'unshare: a network namespace is not allowed here')
    if uid:
        for name, text in (('setgroups', 'deny'), ('uid_map', f'0 {uid} 1'), ('gid_map', f'0 {gid} 1')):
            with open(f'/proc/self/{name}', 'w') as f:
                f.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        ask = struct.pack('16sh14x', b'lo', 0)
        up, = struct.unpack_from('16xh', fcntl.ioctl(s, SIOCGIFFLAGS, ask))
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack('16sh14x', b'lo', up | IFF_UP))
