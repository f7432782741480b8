"""Server processes on this machine, each with a port of its own, or behind HAProxy (``balanced``)."""
