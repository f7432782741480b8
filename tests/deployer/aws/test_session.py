from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError

from deployer.aws import session
from deployer.errors import EnvironmentProblem


def test_client_without_a_region_says_where_to_set_one() -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        session.client("ec2")
    assert caught.value.hint == "set AWS_REGION or --region"


def test_client_names_us_and_retries_in_standard_mode() -> None:
    config = session.client("ec2", "us-east-1").meta.config
    assert config.user_agent_extra == "deployer"
    assert config.retries["mode"] == "standard"


def test_retry_mode_of_the_environment_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    assert session.client("ec2", "us-east-1").meta.config.retries["mode"] == "adaptive"


def test_lost_connection_is_an_environment_problem() -> None:
    with pytest.raises(EnvironmentProblem, match="reading: Could not connect"):  # noqa: SIM117
        with session.translated("reading"):
            raise EndpointConnectionError(endpoint_url="https://pricing.invalid")
