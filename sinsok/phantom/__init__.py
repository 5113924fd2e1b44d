"""Synthetic studies, plainly marked: heads with and without blood, and what a head CT is confused with.

:func:`build` makes one, :func:`write` puts it into a folder, :func:`small_series` makes tiny ones for load tests.
"""

from sinsok.phantom.bleeds import NoRoom, Place, Side
from sinsok.phantom.cases import Case, PhantomStudy, Truth, build
from sinsok.phantom.files import check_free, write
from sinsok.phantom.small import small_series

__all__ = ["Case", "NoRoom", "PhantomStudy", "Place", "Side", "Truth", "build", "check_free", "small_series", "write"]
