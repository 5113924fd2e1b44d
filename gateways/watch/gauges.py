"""What the watcher shows to Prometheus: numbers of now, and nothing of what is gone."""

from collections.abc import Mapping

from prometheus_client import Gauge


class Family:
    """A gauge of which each look says all there is: what it says no more disappears."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._shown: set[tuple[str, ...]] = set()

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Show these, by their labels, and no others."""
        for labels, value in values.items():
            self._gauge.labels(*labels).set(value)
        for labels in self._shown - values.keys():
            self._gauge.remove(*labels)
        self._shown = set(values)
