"""Kinds of values that options of several commands take."""

from datetime import UTC, datetime
from typing import Any, Final

import click

from sinsok.errors import UsageError


class _TimeType(click.ParamType):
    """ISO 8601; UTC where no offset is said."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            option = param.opts[0] if param else "time"
            raise UsageError(f"{option} {value}: give a time as 2026-11-26 or 2026-11-26T03:00Z") from None
        return at if at.tzinfo else at.replace(tzinfo=UTC)


TIME: Final = _TimeType()
