"""A bundle behind SageMaker's Runtime API, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deployer.paths import AnyPath, as_path
from deployer.progress import Say, silent


@contextmanager
def serving_as_sagemaker(
    bundle: AnyPath, *, name: str | None = None, port: int = 0, objects: AnyPath | None = None
) -> Iterator[str]:
    """Answer SageMaker Runtime's calls for a bundle while the block runs; yields boto3's ``endpoint_url``.

    ``name`` is the endpoint's, by default the bundle's. Objects of asynchronous calls lie in the folder
    ``objects``, by default one that goes away.

    >>> with deployer.serving_as_sagemaker(bundle.path) as url:
    ...     runtime = boto3.client("sagemaker-runtime", endpoint_url=url)
    ...     answer = runtime.invoke_endpoint(EndpointName="digits", Body=body)
    """
    from deployer.localmode import run

    with run.running(as_path(bundle), name=name, port=port, objects=as_path(objects)) as url:
        yield url


def serve_as_sagemaker(
    bundle: AnyPath,
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int | None = None,
    threads: int | None = None,
    objects: AnyPath | None = None,
    say: Say = silent,
) -> None:
    """Serve a bundle behind SageMaker's Runtime API in the foreground until SIGINT or SIGTERM."""
    from deployer.localmode import run

    run.serve(
        as_path(bundle),
        name=name,
        host=host,
        port=port,
        workers=workers,
        threads=threads,
        objects=as_path(objects),
        say=say,
    )
