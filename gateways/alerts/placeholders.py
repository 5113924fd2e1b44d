"""Templates of the configuration: ``{name}`` stands for what a message says. Other braces stay as they are."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final

MESSAGE: Final = ("text", "title", "link", "priority", "site", "recipient", "alert_id", "key")
"""What a template for a message may name."""

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def names(template: str) -> list[str]:
    """What the template names."""
    return _PLACEHOLDER.findall(template)


def checked(template: str, allowed: Collection[str]) -> str:
    """The template. Raises ``ValueError`` where it names something else than what is allowed."""
    for name in names(template):
        if name not in allowed:
            there = ", ".join(f"{{{one}}}" for one in allowed)
            raise ValueError(f"there is no placeholder {{{name}}}: use {there}")
    return template


def filled(template: str, values: Mapping[str, str], escape: Callable[[str], str]) -> str:
    """The template with its placeholders replaced."""
    return _PLACEHOLDER.sub(lambda found: escape(values[found[1]]), template)
