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
        :class:`schemas.failures.Unreadable` where it breaks the contract; its kind
        :class:`schemas.failures.NotInstalled` where the server has no such model.
        """
        ...

    async def read(
        self, site: str, study_uid: str, series: Series, model: ModelIdentity, *, urgent: bool = True
    ) -> Reading:
        """Show a series to a model. An urgent one overtakes those that wait for this model and are not.

        Raises :class:`schemas.failures.Unavailable` (away, overloaded, too slow; object store away) and
        :class:`schemas.failures.Unreadable` (pixels that cannot be decoded, an answer that breaks the contract).
        """
        ...
