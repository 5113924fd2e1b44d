"""What a user did or met, in one line: what, where, what to do.

::

    UserError        exit code 1: it could not be done
    └── UsageError   exit code 2: it was asked for wrongly (an unknown name, a file that is no configuration)
"""


class UserError(Exception):
    """Ends a command with one clear line on stderr; the traceback shows with ``--debug`` only."""

    exit_code = 1


class UsageError(UserError):
    """The command, its arguments or the configuration are wrong."""

    exit_code = 2
