"""One function per verb: the only package that joins the stages.

Each takes nouns, or paths of files that hold them, and returns a noun; the command line and deploy
scripts call the same functions. Stages are imported when first used, so that `import deployer` is quick
and a verb needs only the extra it uses.
"""

from deployer.api.deployments import (
    deploy,
    destroy,
    expired,
    init,
    invoke,
    logs,
    plan,
    reap,
    rollback,
    serve,
    serving,
    status,
    to_toml,
)
from deployer.api.endpoints import endpoint
from deployer.api.experiments import (
    compare,
    loadtest,
    make_trace,
    prices,
    read_trace,
    save_trace,
    simulate,
)
from deployer.api.jobs import transform
from deployer.api.localmode import serve_as_sagemaker, serving_as_sagemaker
from deployer.api.models import edge, export, optimize, package, profile
from deployer.api.uploads import upload
from deployer.api.validation import validate

__all__ = [
    "compare",
    "deploy",
    "destroy",
    "edge",
    "endpoint",
    "expired",
    "export",
    "init",
    "invoke",
    "loadtest",
    "logs",
    "make_trace",
    "optimize",
    "package",
    "plan",
    "prices",
    "profile",
    "read_trace",
    "reap",
    "rollback",
    "save_trace",
    "serve",
    "serve_as_sagemaker",
    "serving",
    "serving_as_sagemaker",
    "simulate",
    "status",
    "to_toml",
    "transform",
    "upload",
    "validate",
]
