"""Which filesystems SQLite's write-ahead log must not be put on.

WAL keeps an index of the log in shared memory, which processes on different hosts do not share;
on a network filesystem the database is damaged sooner or later (sqlite.org/wal.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_NETWORK = frozenset(
    [
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "afpfs",
        "webdav",
        "davfs",
        "9p",
        "ceph",
        "lustre",
        "gpfs",
        "beegfs",
        "glusterfs",
        "orangefs",
        "pvfs2",
        "panfs",
        "ocfs2",
        "gfs",
        "gfs2",
        "moosefs",
    ]
)
_NETWORK_FUSE = frozenset(
    [
        "sshfs",
        "s3fs",
        "davfs",
        "davfs2",
        "glusterfs",
        "ceph",
        "ceph-fuse",
        "rclone",
        "gcsfuse",
        "juicefs",
        "mfs",
        "moosefs",
        "cephfs",
        "beegfs",
        "smbnetfs",
        "curlftpfs",
        "goofys",
        "blobfuse",
        "blobfuse2",
    ]
)


class Mount(NamedTuple):
    """A mounted filesystem."""

    point: str
    fstype: str


def mounts() -> list[Mount]:
    """The mounted filesystems of this process, in mounting order; empty where they are unknown."""
    try:
        table = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        import psutil

        return [Mount(p.mountpoint, p.fstype) for p in psutil.disk_partitions(all=True)]
    found = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) >= 3:
            point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
            found.append(Mount(point, fields[2]))
    return found


def is_network(fstype: str) -> bool:
    """Whether a filesystem type reaches another host."""
    kind, _, sub = fstype.lower().partition(".")
    if kind in ("fuse", "fuseblk"):
        return sub in _NETWORK_FUSE
    return kind in _NETWORK


def network_filesystem(path: Path, table: Sequence[Mount] | None = None) -> str | None:
    """The type of the network filesystem that ``path`` (existing or not) lies on, else None."""
    resolved = path.expanduser().resolve()
    best: Mount | None = None
    for mount in mounts() if table is None else table:
        if resolved.is_relative_to(mount.point) and (
            best is None
            or len(mount.point) >= len(best.point)  # a later mount hides an earlier one
        ):
            best = mount
    return best.fstype if best and is_network(best.fstype) else None
