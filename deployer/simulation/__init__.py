"""A day of traffic without the cloud: the same Run as a load test returns.

The trace meets the server's own ``policy`` and the project's own ``scaling``; service times come from a
Profile; the kernel is compiled with numba."""
