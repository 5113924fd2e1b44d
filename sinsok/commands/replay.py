"""``sinsok replay``: run a part of the record again."""

import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Final

import click
from click.core import ParameterSource

from schemas.audit import INSTALLATION, ReplayFinished, ReplayStarted
from schemas.topics import all_topics
from sinsok.auditing import account, note
from sinsok.errors import UsageError, UserError
from sinsok.parameters import TIME
from sinsok.replay.report import JSON, PAGE, lines, report, write
from sinsok.replay.rules import check_model, policy_of
from sinsok.replay.run import FILE, Options, Run
from sinsok.settings import Settings, load

LOOK_EVERY_S: Final = 0.3
TELL_EVERY_S: Final = 5.0


@click.command(short_help="Run a part of the record again, with no effect.")
@click.option("--site", help="Only this site.")
@click.option("--study", "study_uid", metavar="UID", help="Only this StudyInstanceUID.")
@click.option("--from", "begin", type=TIME, help="Studies that began at this time or later (ISO 8601; UTC).")
@click.option("--to", "end", type=TIME, help="The record up to this time.")
@click.option("--topics", metavar="TOPIC,...", help="Compare only what stands on these topics.")
@click.option("--model", metavar="NAME@VERSION", help="Have this version of a model read instead; see --infer.")
@click.option("--policy", metavar="FILE", help="Decide by the rules of this sinsok.toml instead of those of then.")
@click.option("--infer", is_flag=True, help="Ask the models again instead of taking their recorded answers.")
@click.option("--speed", default="max", show_default=True, help="max, or times the pace of then: 1x, 50x.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that decide.")
@click.option("--run", "name", metavar="NAME", help="What the run is called; else by its time.")
@click.option("--resume", metavar="NAME", help="Go on with a run that was interrupted, or show its report again.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    site: str | None,
    study_uid: str | None,
    begin: datetime | None,
    end: datetime | None,
    topics: str | None,
    model: str | None,
    policy: str | None,
    infer: bool,
    speed: str,
    workers: int,
    name: str | None,
    resume: str | None,
    as_json: bool,
) -> None:
    """Let the hops decide again what they decided, and show where they decide otherwise.

    Nothing leaves: no page, no object for a PACS, no message to a worklist, no event on a live topic. Without --model,
    --policy or --infer everything must be as it was, bit for bit. The report and its page lie in the run's folder.
    Exit code 0: all is as it was, or as another model or policy has it; 1: it is not, could not be decided, began
    before the record that was read, or the record lacks something.
    """
    settings = load()
    if resume is not None:
        _refuse_options_beside_resume()
        run = _open(settings, resume)
    else:
        now = datetime.now(UTC)
        options = _options(
            settings,
            {
                "run": name or now.strftime("%Y%m%d-%H%M%S-%f")[:-3],
                "begun_at": now,
                "site": site,
                "study_uid": study_uid,
                "begin": begin,
                "end": end,
                "topics": _topics(settings, topics),
                "model": model,
                "policy": policy and Path(policy).name,
                "rules": policy and policy_of(Path(policy)),
                "infer": infer,
                "speed": _speed(speed),
                "workers": workers,
            },
        )
        run = _begin(settings, options)
    try:
        _go(settings, run, as_json)
    finally:
        run.close()


def _refuse_options_beside_resume() -> None:
    context = click.get_current_context()
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name not in ("resume", "as_json")
        and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"--resume goes on as the run began: without {', '.join(given)}")


def _go(settings: Settings, run: Run, as_json: bool) -> None:
    options = run.options
    try:
        # Who replays what is said by this process, never by those behind the fence.
        note(settings, ReplayStarted(**_act(options), begin=options.begin, end=options.end, differs=options.differs))
        if not run.collected():
            _work(run, ["collect"])
        _refuse_nothing(run)
        _work(run, *([str(part), str(options.workers)] for part in range(options.workers)))
    except KeyboardInterrupt:
        raise UserError(f"interrupted; go on with: sinsok replay --resume {options.run}") from None
    found = report(run)
    digest = write(run, found)
    different = found.different + found.unknown
    note(settings, ReplayFinished(**_act(options), same=found.same, different=different, report=digest))
    if as_json:
        click.echo((run.folder / JSON).read_text(encoding="utf-8"), nl=False)
    else:
        click.echo("\n".join([*lines(found), "", f"report: {run.folder / PAGE}"]))
    unasked = (found.different and not options.differs) or (found.earlier and not options.begin)
    if found.unknown or found.faulty or unasked:
        sys.exit(1)


def _act(options: Options) -> dict[str, object]:
    site = options.site or INSTALLATION
    return {"time": datetime.now(UTC), "site": site, "by": account(), "run": options.run}


def _work(run: Run, *parts: list[str]) -> None:
    """Have processes behind the fence do their parts of the work, and tell how far they are."""
    command = [sys.executable, "-m", "sinsok.replay.work", str(run.folder)]
    processes = [subprocess.Popen([*command, *part], stdin=subprocess.DEVNULL) for part in parts]
    told_at = time.monotonic()
    try:
        while any(process.poll() is None for process in processes):
            time.sleep(LOOK_EVERY_S)
            if sys.stderr.isatty() or time.monotonic() - told_at >= TELL_EVERY_S:
                told_at = time.monotonic()
                records, studies, decided = run.progress()
                line = f"{records} records, {studies} studies, {decided} decided again"
                click.echo(f"\r{line}" if sys.stderr.isatty() else line, nl=not sys.stderr.isatty(), err=True)
    finally:
        for process in processes:
            process.terminate()
            process.wait()
        if sys.stderr.isatty():
            click.echo("\r\033[K", nl=False, err=True)
    if any(process.returncode for process in processes):
        raise UserError(f"the replay stopped half-way, see above; go on with: sinsok replay --resume {run.folder.name}")


def _refuse_nothing(run: Run) -> None:
    """A run about nothing is none: its folder goes again."""
    options, (_, studies, _) = run.options, run.progress()
    if studies and run.steps():
        return
    asked = {"study": options.study_uid, "site": options.site}
    of = " and ".join(f"{what} {name}" for what, name in asked.items() if name)
    period = f"between {options.begin or 'the beginning of the record'} and {options.until}"
    rmtree(run.folder)
    if studies:
        raise UserError(f"what is recorded {period} says nothing of steps: it cannot be replayed")
    raise UserError(f"nothing is recorded {period}{f' of {of}' if of else ''}: nothing was replayed")


def _folder(settings: Settings, name: str) -> Path:
    return settings.home / "replays" / name


def _begin(settings: Settings, options: Options) -> Run:
    folder = _folder(settings, options.run)
    if (folder / FILE).exists() and not _is_begun(folder):
        rmtree(folder)
    if folder.exists():
        raise UsageError(f"there is a run {options.run} already: --resume {options.run} goes on with it")
    folder.mkdir(parents=True)
    run = Run(folder)
    run.begin(options)
    return run


def _is_begun(folder: Path) -> bool:
    """Whether a run was interrupted before it could say what it is about: then it is none."""
    run = Run(folder)
    try:
        return run.begun
    finally:
        run.close()


def _open(settings: Settings, name: str) -> Run:
    folder = _folder(settings, name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or not (folder / FILE).is_file():
        there = sorted(path.name for path in folder.parent.glob("*") if (path / FILE).is_file())
        raise UsageError(f"there is no run {name!r}: runs are {', '.join(there) or 'none yet'}")
    return Run(folder)


def _options(settings: Settings, asked: dict[str, object]) -> Options:
    """Check all that can be checked before anything is written."""
    if asked["site"] is not None and asked["site"] not in settings.sites:
        raise UsageError(f"there is no site {asked['site']!r}: sites are {', '.join(sorted(settings.sites))}")
    try:
        options = Options.model_validate(asked)
    except ValueError as error:
        raise UsageError(f"replay: {str(error).splitlines()[1]}: {str(error).splitlines()[2].strip()}") from None
    if options.begin and options.begin >= options.until:
        raise UsageError(f"--from {options.begin} does not lie before the end, {options.until}")
    if options.model:
        check_model(options.model, options.rules or {site: settings.rules.of(site) for site in settings.sites})
        if options.infer:
            _check_served(settings, options.model)
    return options


def _check_served(settings: Settings, model: str) -> None:
    """Before hours of work: is that version there? Raises what :meth:`TritonServer.configuration` raises."""
    # Here and not above: it takes a second to import.
    from gateways.inference.server import TritonServer
    from streams.route import split

    TritonServer(settings.triton).configuration(*split(model))


def _topics(settings: Settings, asked: str | None) -> tuple[str, ...]:
    chosen = tuple(one.strip() for one in asked.split(",")) if asked else ()
    known = {topic.name for topic in all_topics(settings.sites)}
    if strange := [one for one in chosen if one not in known]:
        raise UsageError(f"there is no topic {strange[0]!r}: `sinsok topics` lists them")
    return chosen


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    if not re.fullmatch(r"\d+(\.\d+)?x", text) or not float(text[:-1]):
        raise UsageError(f"--speed {text!r}: max, or times the pace of then, as in 1x or 50x")
    return float(text[:-1])
