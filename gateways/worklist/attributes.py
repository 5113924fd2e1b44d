"""Values of a stored image's head as they may stand in a message: one line, whatever the scanner wrote.

Nothing here raises for an attribute that is absent, empty or of another kind than it should be.
"""

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.valuerep import PersonName


def text(head: Dataset, keyword: str) -> str:
    """The first value of an attribute; empty where there is none."""
    value = _value(head, keyword)
    if isinstance(value, MultiValue):
        value = value[0] if len(value) else ""
    return "" if value is None or isinstance(value, Sequence | bytes) else str(value).strip(" \0")


def person_name(head: Dataset, keyword: str) -> PersonName | None:
    """A person name with its component groups, decoded with the head's own Specific Character Set."""
    value = _value(head, keyword)
    return value if isinstance(value, PersonName) else None


def items(head: Dataset, keyword: str) -> Iterator[Dataset]:
    """The items of a sequence."""
    value = _value(head, keyword)
    if isinstance(value, Sequence):
        yield from value


def first(heads: list[Dataset], *keywords: str) -> str:
    """The first value that is not empty, keyword by keyword and in each of them through the data sets."""
    found = (text(head, keyword) for keyword in keywords for head in heads)
    return next((value for value in found if value), "")


def _value(head: Dataset, keyword: str) -> object:
    try:
        return head.get(keyword)
    except Exception:  # noqa: BLE001 - what a value that breaks the standard makes pydicom raise has no end
        return None
