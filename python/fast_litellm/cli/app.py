"""The commands and their options."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from importlib.util import find_spec

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="One HTTP connection pool under litellm.",
)


@app.command()
def demo(
    calls: int = typer.Option(256, min=1, help="Calls of each kind, by each client."),
    base_url: str = typer.Option("", help="A real provider's base URL; empty for an embedded local server."),
    model: str = typer.Option("", help="The real provider's model."),
    picture: str = typer.Option("", help="Also draw the figures into this PNG (needs matplotlib)."),
) -> None:
    """Runs real litellm, stock and accelerated, each in a fresh process, by turns, and compares them.

    A real provider's key is read from FAST_LITELLM_DEMO_API_KEY.
    """
    for package in ("litellm", "rich") if base_url else ("litellm", "rich", "uvicorn", "trustme"):
        if find_spec(package) is None:
            typer.echo(f"the demo needs {package}: pip install 'fast-litellm[cli,litellm,server]'", err=True)
            raise typer.Exit(2)
    if base_url and not model:
        typer.echo("with a base URL a model must be named", err=True)
        raise typer.Exit(2)
    from .demo.run import run

    raise typer.Exit(run(calls, base_url, os.environ.get("FAST_LITELLM_DEMO_API_KEY", ""), model, picture))


@app.command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
def run_command(context: typer.Context) -> None:
    """Runs any Python program with its litellm accelerated: fast-litellm run litellm --config config.yaml"""
    # The entry point has taken this way already where `run` comes first; here for the list of commands.
    from .run import run

    run(context.args)


@app.command()
def status() -> None:
    """Imports litellm and prints, as JSON, whether it is accelerated and what was replaced in it."""
    import fast_litellm

    from ..exceptions import FleetUnavailable

    # To look at litellm is no reason for it to fetch its table of prices.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    if find_spec("litellm") is not None:
        # What keeps the fleet from its limits, and so litellm from being imported, stands under "fleet".
        with suppress(FleetUnavailable):
            import litellm  # noqa: F401
    answer = {"health": fast_litellm.health_check(), "patch": fast_litellm.get_patch_status()}
    fleet = fast_litellm.get_fleet_status()
    if fleet["enabled"] or fleet["error"]:
        answer["fleet"] = fleet
    typer.echo(json.dumps(answer, indent=2, default=str))
