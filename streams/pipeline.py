"""The whole flow, one hop after the other. Read the files in this order and you have read sinsok.

- *receive* decides nothing: it stores what scanners and PACS send, durably (gateways/dicom).
- *assemble* decides when a study has arrived (streams/assemble.py).
- *infer* decides which model looks at it, and says what the model saw (streams/infer.py).
- *confirm* has a slower, more certain model read again where a route asks for it: the last word (streams/confirm.py).
- *alert* decides whether somebody has to look now (streams/alert.py).
- *write* decides nothing either: it puts results into PACS and worklist (gateways/pacs, gateways/worklist).

Each line of :func:`pipeline` says which topics a hop reads and, last, which it writes.
Time comes to the stateful hops as ``triage.deadlines``; what no hop can handle ends in ``dead.letters``.
"""

from functools import partial

from schemas.topics import DEADLINES, DELIVERIES, DICOM_SERIES, RESULTS, STUDIES, alerts
from streams import confirm as second
from streams import infer as first
from streams.alert import StudyAlert, alert
from streams.assemble import OpenStudy, assemble
from streams.hop import Gateway, Hop, StatefulHop, StatelessHop
from streams.ports import Inference
from streams.site import Sites


def pipeline(sites: Sites, inference: Inference) -> tuple[Hop, ...]:
    """The hops in the order a study passes them."""
    notifications = tuple(alerts(site) for site in sites.names)
    decide_complete, decide_urgent = partial(assemble, sites), partial(alert, sites)
    infer, confirm = partial(first.infer, sites, inference), partial(second.confirm, sites, inference)
    waiting, failed = partial(first.waiting, sites), partial(first.failed, sites)
    return (
        Gateway("receive", (), (DICOM_SERIES,)),
        StatefulHop("assemble", (DICOM_SERIES, DEADLINES), "studies", OpenStudy, decide_complete, (STUDIES, DEADLINES)),
        StatelessHop("infer", (STUDIES,), infer, waiting, failed, (RESULTS,)),
        StatelessHop("confirm", (STUDIES,), confirm, second.waiting, second.failed, (RESULTS,)),
        StatefulHop("alert", (RESULTS, DEADLINES), "alerts", StudyAlert, decide_urgent, (*notifications, DEADLINES)),
        Gateway("write", (RESULTS,), (DELIVERIES,)),
    )
