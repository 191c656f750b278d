"""The examples of docs/fleet.md: the manifests have a form that Kubernetes takes, and their settings are understood."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from fast_litellm import config
from fast_litellm.fleet.engines.urls import checked
from fast_litellm.fleet.limits import checked_limits

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
VERSIONS = {"Secret": "v1", "Service": "v1", "StatefulSet": "apps/v1", "Deployment": "apps/v1"}


@pytest.fixture
def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    documents = yaml.safe_load_all((EXAMPLES / "kubernetes" / "fleet.yaml").read_text())
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def test_each_manifest_has_the_version_of_its_kind_and_selectors_fit(
    manifests: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert len(manifests) == 4
    for (kind, _), each in manifests.items():
        assert each["apiVersion"] == VERSIONS[kind]
        if kind in ("StatefulSet", "Deployment"):
            spec = each["spec"]
            assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
            assert all({"name", "image"} <= set(container) for container in spec["template"]["spec"]["containers"])


def test_the_service_is_headless_and_names_the_pods_of_redis(
    manifests: dict[tuple[str, str], dict[str, Any]],
) -> None:
    service = manifests["Service", "fleet-redis"]["spec"]
    pods = manifests["StatefulSet", "fleet-redis"]["spec"]
    assert service["clusterIP"] == "None"
    assert pods["serviceName"] == "fleet-redis"
    assert service["selector"] == pods["template"]["metadata"]["labels"]


def test_the_proxys_settings_are_those_that_the_package_reads(
    manifests: dict[tuple[str, str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = manifests["Secret", "fleet"]["stringData"]
    for name in [name for name in os.environ if name.startswith("FAST_LITELLM_")]:
        monkeypatch.delenv(name)
    for variable in manifests["Deployment", "proxy"]["spec"]["template"]["spec"]["containers"][0]["env"]:
        reference = variable.get("valueFrom")
        value = secret[reference["secretKeyRef"]["key"]] if reference else variable["value"]
        monkeypatch.setenv(variable["name"], value)
    url = config.fleet_url()
    assert url is not None
    assert checked(url) == "redis"
    assert secret["password"] in url
    assert checked_limits(config.fleet_limits()) == {"https://api.openai.com": 40, "https://api.anthropic.com": 20}
