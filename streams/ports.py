"""What the hops need from the world, as protocols.

Gateways match them structurally; mypy proves the fit in sinsok/wiring.py.
"""

from typing import Protocol

from schemas.events import Reading, Series
from schemas.models import ModelIdentity


class Inference(Protocol):
    """A model server that reads series. Its answers are recorded: the same content and model give the same reading."""

    async def identify(self, model: str, version: str) -> ModelIdentity:
        """The model version as it is served now.

        Raises :class:`schemas.failures.Unavailable` where the server is away or the model not ready, and
        :class:`schemas.failures.Unreadable` where there is no such model or it breaks the contract.
        """
        ...

    async def read(self, site: str, study_uid: str, series: Series, model: ModelIdentity) -> Reading:
        """Show a series to a model.

        Raises :class:`schemas.failures.Unavailable` (away, overloaded, too slow; object store away) and
        :class:`schemas.failures.Unreadable` (pixels that cannot be decoded, an answer that breaks the contract).
        """
        ...
