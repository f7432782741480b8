"""What a plan asks ECR about an image: botocore's Stubber for the API, a real HTTPS server for the layer."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3")
from botocore.stub import Stubber

from deployer.aws import images
from deployer.aws.session import Aws

ACCOUNT = "123456789012"
URI = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/deployer/echo"
DIGEST, CONFIG = "sha256:" + "a" * 64, "sha256:" + "c" * 64


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of 127.0.0.1, signed by itself, in one file."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, form, plain) + made.public_bytes(pem))
    return path


@pytest.fixture
def layers(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of layers that the certificate store of this process trusts; ``says`` is what it answers."""

    class Handler(BaseHTTPRequestHandler):
        says = b"{}"

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(Handler.says)

        def log_message(self, *words: Any) -> None:
            pass

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Handler.url = f"https://127.0.0.1:{server.server_address[1]}/layer"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    made = Aws("us-east-1")
    made.identity = (ACCOUNT, "aws")  # type: ignore[misc]  # what STS would say
    return made


def found(manifest: dict[str, Any]) -> dict[str, Any]:
    return {"images": [{"imageId": {"imageDigest": DIGEST}, "imageManifest": json.dumps(manifest)}]}


def one_image(stub: Stubber, url: str) -> None:
    stub.add_response("batch_get_image", found({"config": {"digest": CONFIG}, "layers": []}))
    wanted = {"registryId": ACCOUNT, "repositoryName": "deployer/echo", "layerDigest": CONFIG}
    stub.add_response("get_download_url_for_layer", {"downloadUrl": url}, wanted)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'{"architecture": "arm64", "os": "linux"}', ("arm64",)),
        (b'{"architecture": "amd64"}', ("x86_64",)),
        (b'{"architecture": "s390x"}', ()),
        (b"[]", ()),
        (b"not JSON", ()),
    ],
)
def test_the_processor_of_a_single_image_is_read_from_its_configuration(
    aws: Aws, layers: Any, said: bytes, expected: tuple[str, ...]
) -> None:
    layers.says = said
    with Stubber(aws.client("ecr")) as stub:
        one_image(stub, layers.url)
        image = images.find(aws, f"{URI}:1")
    assert image == images.FoundImage(f"{URI}@{DIGEST}", "a" * 64, expected)


def test_no_layer_is_fetched_without_tls(aws: Aws) -> None:
    with Stubber(aws.client("ecr")) as stub:
        one_image(stub, "http://127.0.0.1:9/layer")
        image = images.find(aws, f"{URI}:1")
    assert image is not None
    assert image.architectures == ()


def test_an_index_tells_its_processors_itself(aws: Aws) -> None:
    rows = [{"platform": {"architecture": word}} for word in ("amd64", "arm64", "unknown")]
    with Stubber(aws.client("ecr")) as stub:
        stub.add_response("batch_get_image", found({"manifests": rows}))
        image = images.find(aws, f"{URI}@{DIGEST}")
    assert image is not None
    assert image.architectures == ("x86_64", "arm64")


def test_an_image_of_another_account_that_may_not_be_read_is_taken_as_named(aws: Aws) -> None:
    uri = URI.replace(ACCOUNT, "210987654321") + f"@{DIGEST}"
    with Stubber(aws.client("ecr")) as stub:
        stub.add_client_error("batch_get_image", "AccessDeniedException")
        assert images.find(aws, uri) == images.FoundImage(uri, "a" * 64, ())
    with Stubber(aws.client("ecr")) as stub:
        stub.add_client_error("batch_get_image", "RepositoryNotFoundException")
        assert images.find(aws, uri) is None
