"""THE path of a request, with no HTTP and no queue service in it.

Two kinds of process share it, because they must not wait for one another::

    front process (one, event loop)                worker process (one per session)
    engine    admit or refuse, keep the backlog    process   receive, decode, batch, answer
    pool      start, feed, watch, replace workers  served    the handler, warm and ready
    pace      how fast the workers are
                         frames over a socket pair; a status page in shared memory

The front owns every request until it is answered, so a worker that dies loses nothing: what it had
not begun goes to another worker, what it was computing is tried once more, alone.
"""
