"""A page of the worklist with 10,000 open alerts: the console's kept order, beside sorting all studies for each page.

The whole page is asked for over HTTP from the application in this process, signed in, 50 studies a page, while an
event of a study comes in between any two. ``sorted`` is the same console with the order made anew at each request.

    python benchmarks/console_worklist.py [--alerts 10000] [--pages 200]
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

from gateways.console.study import Level  # noqa: E402
from gateways.console.view import Listed, View  # noqa: E402
from schemas.audit import Role  # noqa: E402
from schemas.events import Priority  # noqa: E402
from tests.unit.gateways.console.house import (  # noqa: E402
    PASSWORD,
    Browser,
    House,
    grant,
    house_in,
    paged,
    raised,
    received,
    triaged,
)


class Sorting(View):
    """The peer."""

    def worklist(self, sites: Collection[str], through: Level, start: int, size: int) -> Listed:
        """As the view's, from all studies."""
        now = self._now()
        with self._lock:
            every = [
                (study.level(now, self.clocks), study.since, study.key, study)
                for study in self._studies.values()
                if study.site in sites
            ]
            every.sort()
            counts = {level: sum(one[0] is level for one in every) for level in Level}
            wanted = [one for one in every if one[0] <= through]
            page = [(study.snapshot(), level) for level, _, _, study in wanted[start : start + size]]
        return Listed(page, len(wanted), counts)


def filled(house: House, alerts: int) -> None:
    """Studies with an open alert each, of two sites."""
    for number in range(alerts):
        uid, site = f"2.25.{number}", ("suwon", "anseong")[number % 2]
        alert = raised(uid, site, minutes=number / alerts, priority=(Priority.STAT, Priority.URGENT)[number % 3 == 0])
        house.take(received(uid, site), triaged(uid, site), alert, paged(uid, site))


def measured(view: type[View], alerts: int, pages: int) -> list[float]:
    """Seconds for each page."""
    with tempfile.TemporaryDirectory() as folder, house_in(Path(folder)) as house:
        house.view = view(house.settings, house.sites, house.now)
        filled(house, alerts)
        house.accounts.add("rad", PASSWORD, grant(Role.RADIOLOGIST, "*"))
        took = []
        with Browser(house.app()) as browser:
            browser.sign_in("rad")
            for number in range(pages):
                house.take(received(f"2.25.{number}", batch=2))
                began = time.perf_counter()
                answer = browser.get(f"/worklist?page={1 + number % 20}")
                took.append(time.perf_counter() - began)
                assert answer.text.count("<tr class=") == 50
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=200)
    given = parser.parse_args()
    figures = {}
    for name, view in (("kept", View), ("sorted", Sorting)):
        took = measured(view, given.alerts, given.pages)
        figures[name] = statistics.median(took), statistics.quantiles(took, n=20)[-1]
        print(f"{name:<8} p50 {1000 * figures[name][0]:7.1f} ms   p95 {1000 * figures[name][1]:7.1f} ms")
    print(f"p95 of the peer: {figures['sorted'][1] / figures['kept'][1]:.1f} times ours")


if __name__ == "__main__":
    main()
