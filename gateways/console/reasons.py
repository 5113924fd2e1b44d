"""What other parts say in English in events and in ``/readyz``, as sentences that can be said in another language.

What is not here is shown as it came: it is what a machine, a model or a person said, and nobody here knows it better.
"""

import re
from functools import cache
from typing import Final

from gateways.console.terms import mark
from gateways.console.told import Told

SENTENCES: Final = (
    # streams/escalate.py, why an act was refused and how an alert ended
    mark("no such alert is known: it was closed long ago, or never raised"),
    mark("%(by)s has taken it"),
    mark("it was dismissed by %(by)s"),
    mark("it was dismissed"),
    mark("it was withdrawn: %(reason)s"),
    mark("withdrawn: %(reason)s"),
    mark("nobody was on call"),
    mark("quiet hours"),
    mark("acknowledged"),
    mark("dismissed"),
    # streams/alert.py, why an alert was withdrawn
    mark("revision %(revision)s took the finding back: %(reason)s"),
    # what parts say of themselves in /readyz
    mark("the %(name)s thread has died: restart the %(part)s"),
    mark("the check failed: %(error)s"),
    mark("Kafka has not answered since %(time)s UTC"),
    mark("Kafka at %(address)s does not answer: %(error)s"),
    mark("the console is still reading what stands on the topics"),
    mark("%(count)s events wait for Kafka, the oldest for %(seconds)s s"),
    mark("%(count)s events that Kafka will never take lie in the %(database)s's table 'rejected'"),
    mark("%(place)s has waited for %(seconds)s s: %(reason)s"),
    mark("%(place)s has stood still for %(seconds)s s with events waiting"),
    mark("tables are not recovered"),
    mark("starting"),
    mark("%(to)s: %(count)s results wait, the oldest for %(seconds)s s%(reason)s"),
    mark("%(whom)s cannot be reached: %(reason)s"),
)


def sentence_of(text: str) -> Told | None:
    """The sentence that a text is one of, and what stands in it."""
    for sentence, pattern in _patterns():
        if found := pattern.fullmatch(text):
            return Told(sentence, found.groupdict())
    return None


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    def pattern(sentence: str) -> re.Pattern[str]:
        pieces = re.split(r"%\((\w+)\)s", sentence)
        return re.compile("".join(f"(?P<{one}>.*)" if at % 2 else re.escape(one) for at, one in enumerate(pieces)))

    return [(sentence, pattern(sentence)) for sentence in SENTENCES]
