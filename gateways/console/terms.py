"""Words that come from events and not from a page: marked, so that the catalogue has them, translated when shown."""

from typing import Final


class Term(str):
    """A value that the catalogue knows."""

    __slots__ = ()


def mark(text: str) -> str:
    """Mark a sentence for the catalogue (Babel looks for calls of this)."""
    return text


TERMS: Final = (
    mark("findings"),
    mark("no findings"),
    mark("not applicable"),
    mark("failed"),
    mark("stat"),
    mark("urgent"),
    mark("routine"),
    mark("raised"),
    mark("undelivered"),
    mark("unanswered"),
    mark("deferred"),
    mark("repeated"),
    mark("paged"),
    mark("not delivered"),
    mark("delivered"),
    mark("seen"),
    mark("escalated"),
    mark("acknowledged"),
    mark("not a finding"),
    mark("closed"),
    mark("withdrawn"),
    mark("left"),
    mark("right"),
    mark("midline"),
    mark("radiologist"),
    mark("operator"),
    mark("auditor"),
    mark("admin"),
    mark("ready"),
    mark("not ready"),
    mark("away"),
    mark("site silent"),
    mark("scanner silent"),
    mark("lag"),
    mark("study open"),
    mark("ai never ran"),
    mark("clock skew"),
    mark("certificate"),
    mark("archive behind"),
    mark("audit behind"),
)
"""What enumerations say; a test holds them against the contracts."""
