"""Network filesystems, which must not hold SQLite's write-ahead log.

WAL keeps an index of the log in shared memory, which processes on different hosts do not share;
on a network filesystem the database is damaged sooner or later (sqlite.org/wal.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_NETWORK = frozenset(
    "nfs nfs3 nfs4 cifs smb smb2 smb3 smbfs ncpfs afs afpfs webdav davfs 9p ceph lustre gpfs beegfs"
    " glusterfs orangefs pvfs2 panfs ocfs2 gfs gfs2 moosefs".split()
)
_NETWORK_FUSE = frozenset(
    "sshfs s3fs davfs davfs2 glusterfs ceph ceph-fuse rclone gcsfuse juicefs mfs moosefs cephfs"
    " beegfs smbnetfs curlftpfs goofys blobfuse blobfuse2".split()
)


class Mount(NamedTuple):
    """A mounted filesystem."""

    point: str
    fstype: str


def mounts() -> list[Mount]:
    """The mounted filesystems of this process, in mounting order; empty where they are unknown."""
    import psutil

    try:
        return [Mount(p.mountpoint, p.fstype) for p in psutil.disk_partitions(all=True)]
    except OSError:
        return []


def is_network(fstype: str) -> bool:
    """Whether a filesystem type reaches another host."""
    kind, _, sub = fstype.lower().partition(".")
    return sub in _NETWORK_FUSE if kind in ("fuse", "fuseblk") else kind in _NETWORK


def network_filesystem(path: Path, table: Sequence[Mount] | None = None) -> str | None:
    """The type of the network filesystem that ``path`` (existing or not) lies on, else None."""
    resolved = path.expanduser().resolve()
    above = [m for m in (mounts() if table is None else table) if resolved.is_relative_to(m.point)]
    # Sorting keeps the order of equals, and a later mount hides an earlier one.
    nearest = sorted(above, key=lambda m: len(m.point))[-1:]
    return next((m.fstype for m in nearest if is_network(m.fstype)), None)
