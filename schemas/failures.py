"""How a port says that it could not do its work. The type decides what a hop does next.

::

    PortFailure
    ├── Unavailable         the far side is away: try again, the same input may succeed
    │   └── BrokerAway      it is Kafka that is away
    ├── Busy                this one cannot be taken now, others can: try it again, and go on with them
    ├── Unreadable          this input will never work: report it, do not try again
    │   └── NotInstalled    there is no such model here: another may take its place
    └── Refused             the far side has looked at it and says no: a person has to see why
"""


class PortFailure(Exception):
    """A port could not do its work; the text is one line and names no patient."""


class Unavailable(PortFailure):
    """A passing failure: a server that is away, overloaded or too slow. Retried with backoff."""


class BrokerAway(Unavailable):
    """Kafka does not answer, or not in time: `sinsok status` shows whether it runs."""


class Busy(PortFailure):
    """A passing failure of this input alone: the record it is about is in use. The far side is there."""


class Unreadable(PortFailure):
    """A failure that will not pass: pixel data that cannot be decoded, an answer that breaks the contract."""


class NotInstalled(Unreadable):
    """The model server has no such model."""


class Refused(PortFailure):
    """The far side understood and will not have it, with its status and comment: trying again changes nothing."""
