"""What a user did or met, in one line: what, where, what to do.

::

    UserError        exit code 1: it could not be done
    └── UsageError   exit code 2: it was asked for wrongly (an unknown name, a file that is no configuration)
"""

from schemas.failures import BrokerAway, PortFailure


class UserError(Exception):
    """Ends a command with one clear line on stderr; the traceback shows with ``--debug`` only."""

    exit_code = 1


class UsageError(UserError):
    """The command, its arguments or the configuration are wrong."""

    exit_code = 2


def in_a_line(error: UserError | PortFailure) -> str:
    """What a command or a process of one says on stderr before it ends."""
    remedy = "; `sinsok status` shows what runs" if isinstance(error, BrokerAway) else ""
    return f"error: {error}{remedy}"
