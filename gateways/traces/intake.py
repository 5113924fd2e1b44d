"""As whom the tracer reads."""

from typing import Final

from confluent_kafka import Consumer

from gateways import kafka

GROUP: Final = "sinsok-tracer"


def consumer(bootstrap: str) -> Consumer:
    """Reads what happens to studies and alerts, all of it.

    A cluster has one tracer. Its membership is static, so that after a crash it need not wait for its own session to
    time out.
    """
    return kafka.consumer(bootstrap, GROUP, **{"group.instance.id": GROUP})
