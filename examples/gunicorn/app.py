"""A WSGI application that asks a provider for each request; all workers of gunicorn share one limit.

    mkdir -m 700 /run/my-app
    FAST_LITELLM_FLEET=sqlite:////run/my-app/fleet.db FAST_LITELLM_FLEET_LIMITS=https://api.openai.com=40 \
        gunicorn --workers 4 --threads 64 app:application

UPSTREAM is the URL to ask, by default OpenAI's list of models.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable

import httpx

import fast_litellm

UPSTREAM = os.environ.get("UPSTREAM", "https://api.openai.com/v1/models")

client = httpx.Client(transport=fast_litellm.HTTPTransport(pool="default"), timeout=60)


def application(environ: dict[str, object], start_response: Callable[..., object]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/fleet":
        start_response("200 OK", [("content-type", "application/json")])
        return [json.dumps(fast_litellm.get_fleet_status()).encode()]
    key = os.environ.get("OPENAI_API_KEY", "")
    answer = client.get(UPSTREAM, headers={"authorization": f"Bearer {key}"} if key else None)
    start_response(f"{answer.status_code} {answer.reason_phrase}", [("content-type", "text/plain")])
    return [answer.content]
