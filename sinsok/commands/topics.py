"""``sinsok topics``: the declared topics against the broker's."""

import json
import sys
from collections.abc import Iterable

import click

from gateways.kafka_topics import TopicDifference, configure, create, differences, names
from schemas.topics import Topic
from sinsok.settings import load
from sinsok.stack import parts


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Create what is missing and set what is configured otherwise.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(apply_: bool, as_json: bool) -> None:
    """Compare the declared topics with the broker's. Exit code 1 where one is not as declared.

    --apply never changes a number of partitions (keys would move and studies fall apart) and never deletes: a topic
    with the wrong number has to be made anew by hand. Topics that sinsok does not declare are named and left alone.
    """
    settings = load()
    bootstrap, declared = settings.kafka.bootstrap_servers, parts.topics(settings)
    created = _apply(bootstrap, declared) if apply_ else []
    found = differences(bootstrap, declared)
    others = sorted(names(bootstrap) - {topic.name for topic in declared})
    if as_json:
        report = {
            "declared": [topic.name for topic in declared],
            "created": created,
            "differences": [
                {"topic": one.topic, "what": one.what, "declared": one.declared, "actual": one.actual} for one in found
            ],
            "others": others,
        }
        click.echo(json.dumps(report))
    else:
        click.echo("\n".join(_told(declared, created, found, others)))
    if found:
        sys.exit(1)


def _apply(bootstrap: str, declared: Iterable[Topic]) -> list[str]:
    declared = tuple(declared)
    created = create(bootstrap, declared)
    otherwise = {one.topic for one in differences(bootstrap, declared) if one.what != "partitions"}
    configure(bootstrap, [topic for topic in declared if topic.name in otherwise])
    return created


def _told(
    declared: Iterable[Topic], created: Iterable[str], found: Iterable[TopicDifference], others: Iterable[str]
) -> Iterable[str]:
    for topic in declared:
        different = [one for one in found if one.topic == topic.name]
        state = "differs" if different else "created" if topic.name in created else "ok"
        yield f"{state:<8} {topic.name:<34} {topic.partitions} partitions  {topic.purpose}"
        for one in different:
            yield f"{'':8}   {_explained(one)}"
    for name in others:
        yield f"{'other':<8} {name:<34} not declared here, left alone"


def _explained(one: TopicDifference) -> str:
    if one.what == "topic":
        return "missing: `sinsok topics --apply` creates it"
    if one.what == "partitions":
        return f"has {one.actual} partitions, not {one.declared}: never changed by sinsok, make the topic anew"
    return f"{one.what} is {one.actual}, not {one.declared}: `sinsok topics --apply` sets it"
