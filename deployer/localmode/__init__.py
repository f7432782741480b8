"""The SageMaker Runtime API on this machine, before the very container that would serve in the cloud.

``front`` takes what boto3's ``sagemaker-runtime`` client sends, plays the rules that SageMaker plays (``rules``:
which headers pass, how long things may be, what errors look like), asks the bundle's own server on a port of
its own, and answers as SageMaker does. Asynchronous calls (``jobs``) read and write objects (``storage``) in a
folder, which the same port serves by the few S3 calls that such a client makes. ``run`` starts and stops both.

Signatures are not checked and nobody is billed. It is for trying code, not for measuring: load tests go to the
bundle's own server.
"""
