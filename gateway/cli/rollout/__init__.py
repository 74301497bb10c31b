"""`gateway migration`, the part for whoever watches over a rollout: the live view, and the papers."""

import typer

from gateway.cli.rollout import papers
from gateway.cli.rollout.rehearse import rehearse
from gateway.cli.rollout.watch import watch


def add_to(app: typer.Typer) -> None:
    """Register every command, in the order in which a rollout meets them."""
    app.command("watch")(watch)
    app.command("plan")(papers.plan)
    app.command("checklist")(papers.checklist)
    app.command("rehearse")(rehearse)
    app.command("runbook")(papers.runbook)
    app.command("incidents")(papers.incidents)
    app.command("report")(papers.report)
    app.command("reports")(papers.reports)
