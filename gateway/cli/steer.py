"""The verbs that change a migration, each one call to the admin API.

All of them take `--reason`, which the audit log keeps, and `--if-match`, which refuses to act on a state that
somebody changed meanwhile. None asks back: whoever types `emergency-rollback` at three in the morning means
it.
"""

from collections.abc import Iterator, Mapping
from math import nan
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import typer

from gateway.cli import view
from gateway.cli.admin import DEFAULT_URL, Admin, AsJson, Name, Url, connect
from gateway.cli.migration import plain, print_json
from gateway.errors import BadRequest, GatewayError

Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.", show_default=False)]
IfMatch = Annotated[
    str | None,
    typer.Option(
        "--if-match", metavar="VERSION", help="Act only if the version is still this one.", show_default=False
    ),
]
Keep = Annotated[
    bool, typer.Option("--keep-assignment", help="Everybody keeps the arm of the run before: a false alarm.")
]
Exclude = Annotated[
    bool, typer.Option("--exclude-previous", help="Whoever met the candidate before stays on control.")
]
Mode = Annotated[
    Literal["evict", "drain"] | None,
    typer.Option(
        help="evict: everybody leaves at once; drain: running conversations finish; else as the file says.",
        show_default=False,
    ),
]

PLAIN_VERBS = {
    "pause": "Stop advancing until a person resumes; the weight stays, and the gates go on.",
    "resume": "Go on after a pause, at the weight that is served now; the hold begins anew.",
    "approve": "Let the present stage be left once all its gates are green; holds for this entry of it only.",
    "step-back": "Return to the stage before this one.",
    "complete": "End the soak: the candidate is the model from now on.",
}
FORCED_VERBS = {
    "start": ("Begin the first run, at the first stage.", "Go past an open checklist; needs a reason."),
    "advance": (
        "Go to the next stage now, whatever its hold; the audit log keeps what was not green.",
        "Go past a gate that wants a rollback, or past a second person's approval; needs a reason.",
    ),
}

_STORE_AWAY = (
    "The store does not answer: this replica, and those that share its disk, have stopped; the others are "
    "told when the store is back. Run this command against each of the others as well (--url)."
)
_WHEN_MISSING = (
    "A missing replica may still send requests to the candidate. Take it out of the load balancer or stop "
    "its process, then run this command again; `gateway migration status` shows when all agree."
)

lists = typer.Typer(no_args_is_help=True, help="Users and tasks that are assigned by name.")


def add_to(app: typer.Typer) -> None:
    """Register every verb, in the order in which a rollout meets them."""
    _add_forced(app, "start")
    _add_forced(app, "advance")
    app.command("set-weight")(set_weight)
    for verb in ("pause", "resume", "approve", "step-back"):
        _add_plain(app, verb)
    app.command("rollback")(rollback)
    app.command("emergency-rollback")(emergency_rollback)
    app.command("restart")(restart)
    _add_plain(app, "complete")
    app.add_typer(lists, name="lists")


def _add_plain(app: typer.Typer, verb: str) -> None:
    @app.command(verb, help=PLAIN_VERBS[verb])
    def command(
        name: Name = None,
        reason: Reason = "",
        if_match: IfMatch = None,
        as_json: AsJson = False,
        *,
        url: Url = DEFAULT_URL,
    ) -> None:
        _act(verb, name, {"reason": reason}, url=url, if_match=if_match, as_json=as_json)


def _add_forced(app: typer.Typer, verb: str) -> None:
    what, past = FORCED_VERBS[verb]

    @app.command(verb, help=what)
    def command(
        name: Name = None,
        reason: Reason = "",
        if_match: IfMatch = None,
        as_json: AsJson = False,
        *,
        force: Annotated[bool, typer.Option("--force", help=past)] = False,
        url: Url = DEFAULT_URL,
    ) -> None:
        _act(verb, name, _forced(reason, force), url=url, if_match=if_match, as_json=as_json)


def restart(
    name: Name = None,
    reason: Reason = "",
    if_match: IfMatch = None,
    as_json: AsJson = False,
    *,
    keep_assignment: Keep = False,
    exclude_previous: Exclude = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go past an open checklist; needs a reason.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Begin a new run with new people, after a rollback or when completed."""
    if keep_assignment and exclude_previous:
        raise BadRequest("--keep-assignment and --exclude-previous contradict each other: give one of them")
    people = {"keep_assignment": keep_assignment, "exclude_previous": exclude_previous}
    body = _forced(reason, force) | {word: True for word, given in people.items() if given}
    _act("restart", name, body, url=url, if_match=if_match, as_json=as_json)


def _forced(reason: str, force: bool) -> dict[str, Any]:
    if force and not reason.strip():
        raise BadRequest("--force needs a --reason")
    return {"reason": reason} | ({"force": True} if force else {})


def set_weight(
    arguments: Annotated[
        list[str], typer.Argument(metavar="[NAME] PERCENT", help="The candidate's share, 0 to 100.")
    ],
    reason: Reason = "",
    if_match: IfMatch = None,
    as_json: AsJson = False,
    *,
    url: Url = DEFAULT_URL,
) -> None:
    """Serve any share; pauses the automation until resume or advance."""
    *names, share = arguments
    percent = _share(share)
    if len(names) > 1:
        raise BadRequest("one migration at a time: gateway migration set-weight [NAME] PERCENT")
    with connect(url) as admin:
        path = admin.resolve(names[0] if names else None)
        answer = admin.write("PUT", f"{path}/weight", {"percent": percent, "reason": reason}, if_match)
        _report(admin, path, answer, as_json)


def rollback(
    name: Name = None,
    mode: Mode = None,
    reason: Reason = "",
    if_match: IfMatch = None,
    as_json: AsJson = False,
    *,
    url: Url = DEFAULT_URL,
) -> None:
    """Put everybody back on control."""
    body = {"reason": reason} | ({"mode": mode} if mode else {})
    _act("rollback", name, body, url=url, if_match=if_match, as_json=as_json)


def emergency_rollback(
    name: Name = None, reason: Reason = "", as_json: AsJson = False, url: Url = DEFAULT_URL
) -> None:
    """Stop the candidate everywhere, now, and say who has confirmed it.

    Exit code: 0 when every replica has confirmed, 1 when one is missing or only this one could be reached, 2
    when the gateway could not be asked, or when the migration is completed: control has ended then, and
    only restart leads back.
    """
    with connect(url) as admin:
        path = admin.resolve(name)
        answer = admin.write("POST", f"{path}/actions/emergency-rollback", {"reason": reason})
        confirmed = [] if as_json else _confirmed(admin, answer)
    missing = answer["replicas"]["missing"]
    stopped_everywhere = answer["status"] == "rolled_back" and not missing
    if as_json:
        print_json(answer)
    else:
        _tell_emergency(view.clean(unquote(path.rpartition("/")[2])), answer, view.clean(confirmed))
    if not stopped_everywhere:
        raise typer.Exit(1)


@lists.command("show")
def show_lists(name: Name = None, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Who is on which list."""
    with connect(url) as admin:
        answer = admin.get(f"{admin.resolve(name)}/lists")
    _print_lists(answer, as_json)


@lists.command("set")
def set_lists(
    name: Name = None,
    allow_users: Annotated[str | None, typer.Option(metavar="A,B", help="Always the candidate.")] = None,
    allow_tasks: Annotated[
        str | None, typer.Option(metavar="A,B", help="Always the candidate, by x-gateway-task.")
    ] = None,
    deny_users: Annotated[str | None, typer.Option(metavar="A,B", help="Always control.")] = None,
    *,
    reason: Reason = "",
    if_match: IfMatch = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Replace the lists that are given; the others stay. An empty value empties a list."""
    given = {"allow_users": allow_users, "allow_tasks": allow_tasks, "deny_users": deny_users}
    changes = {key: _split(value) for key, value in given.items() if value is not None}
    if not changes:
        raise BadRequest("name at least one of --allow-users, --allow-tasks, --deny-users")
    with connect(url) as admin:
        path = f"{admin.resolve(name)}/lists"
        answer = admin.write("PUT", path, {**changes, "reason": reason}, if_match)
    _print_lists(answer, as_json)


def _share(text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = nan
    if not 0 <= percent <= 100:
        raise BadRequest(
            f"{text!r} is no share from 0 to 100 percent: gateway migration set-weight [NAME] PERCENT"
        )
    return percent


def _act(
    verb: str, name: str | None, body: dict[str, Any], *, url: str, if_match: str | None, as_json: bool
) -> None:
    with connect(url) as admin:
        path = admin.resolve(name)
        _report(admin, path, admin.write("POST", f"{path}/actions/{verb}", body, if_match), as_json)


def _report(admin: Admin, path: str, answer: Any, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    status = answer if "phase" in answer else admin.get(path)
    typer.echo(view.headline(status))
    for line in _afterwards(view.clean(status)):
        typer.echo(line)


def _afterwards(status: Any) -> Iterator[str]:
    """Say what a verb led to that is worth a line of its own."""
    if status.get("last_candidate_request"):
        yield f"last request to the candidate began: {_last_sent(status['last_candidate_request'])}"
    approval = status.get("approval") or {}
    if approval.get("by"):
        waits = (
            "it is left once its other gates are green" if status["phase"] == "running" else "still paused"
        )
        yield f"stage {status['stage']['name']} is approved by {approval['by']}; {waits}"


def _last_sent(moments: Mapping[str, float | None]) -> str:
    return ", ".join(
        f"{replica} {f'{view.moment(at)} UTC' if at else 'never'}" for replica, at in sorted(moments.items())
    )


def _confirmed(admin: Admin, answer: Any) -> list[str]:
    """Return the names of the replicas that acknowledged; nothing is worth failing for here."""
    try:
        replicas = [replica["id"] for replica in admin.get("/admin/replicas")["data"]]
    except (GatewayError, KeyError, TypeError):
        return []
    missing = set(answer["replicas"]["missing"])
    return [replica for replica in replicas if replica not in missing]


def _tell_emergency(name: str, answer: Any, confirmed: list[str]) -> None:
    replicas, out = view.clean(answer["replicas"]), view.console()
    verb = "replica has" if replicas["expected"] == 1 else "replicas have"
    count = f"{replicas['acknowledged']} of {replicas['expected']} {verb} confirmed"
    took = f" after {answer['took_ms']} ms" if "took_ms" in answer else ""
    if answer["status"] == "rolled_back" and not replicas["missing"]:
        out.print(f"{name}: STOPPED. Everything is on control; {count}{took}.", style="bold green")
    elif not replicas["missing"]:
        # Only the store could have told of others.
        out.print(f"{name}: STOPPED HERE, and unknown elsewhere{took}.", style="bold red")
    else:
        out.print(f"{name}: NOT STOPPED EVERYWHERE. Only {count}{took}.", style="bold red")
    if confirmed:
        out.print(f"confirmed: {', '.join(confirmed)}")
    if last_sent := view.clean(answer.get("last_candidate_request")):
        out.print(f"last request to the candidate began: {_last_sent(last_sent)}")
    if answer["status"] != "rolled_back":
        out.print(_STORE_AWAY)
    if replicas["missing"]:
        out.print(f"MISSING: {', '.join(replicas['missing'])}", style="bold red")
        out.print(_WHEN_MISSING)


def _print_lists(answer: Any, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        rows = ((key, plain(answer.get(key, []))) for key in ("allow_users", "allow_tasks", "deny_users"))
        view.console().print(view.facts(rows))


def _split(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]
