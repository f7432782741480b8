"""A day of traffic without the cloud: the same Run as a load test returns.

``simulation.simulate`` turns a DeploymentSpec into ``rules`` and a Profile into ``distributions``, plays the trace
(``playback``) and says what it took for granted (``assumptions``). A fleet of instances runs in ``kernel``
over one ``state`` of arrays: ``replica`` is one server, ``fleet`` many, ``events`` what lies ahead; a
serverless endpoint runs in ``serverless``. ``capacity`` finds the highest rate that one instance takes
within the objective, from which a scaling target follows.

Admission and batching are the functions of ``inference_code.policy``, scaling decisions those of
``deployer.autoscaler``: the very same ones, compiled with numba. A batch job has no simulation and is refused.
"""
