"""How many connections there may be: as many as there are file descriptors for, less those needed for the rest."""

from __future__ import annotations

import os
import resource

#: For files that a handler or the log opens, and for connections on their way out.
_SPARE = 256
#: A worker takes so many while it is being replaced.
_PER_WORKER = 8


def most_connections(workers: int) -> int:
    """Raise this process's limit of open files as far as it may; return how many connections fit below it.

    At least one, and never more than three quarters of the limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit = 2**31 if hard == resource.RLIM_INFINITY else hard
    taken = len(os.listdir("/dev/fd")) + _PER_WORKER * workers
    return max(1, limit - min(_SPARE, limit // 4) - taken)
