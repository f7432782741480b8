"""Servers of this machine behind HAProxy, scaled by the same functions as the simulator's.

``haproxy`` is the balancer: it asks every server /ping twice a second and sends requests to those that answer 200.
``control`` decides how many servers there should be, ``supervisor`` is the process that looks, decides and acts,
``rollout`` brings a new bundle in and ``canary`` tells whether it may stay. Nobody tells the balancer that a server
leaves: the server's own drain does, as it does in the cloud. ``python -m deployer.deployments.local.balanced NAME`` is
the supervisor. On disk its folder is called ``fleet``, as version 0.1 wrote it.
"""
