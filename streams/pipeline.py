"""The whole flow, one hop after the other. Read the files in this order and you have read sinsok.

- *receive* decides nothing: it stores what scanners and PACS send, durably (gateways/dicom).
- *assemble* decides when a study has arrived (streams/assemble.py).
- *infer* decides which model looks at it, and says what the model saw (streams/infer.py).
- *alert* decides whether somebody has to look now (streams/alert.py).

Each line of :func:`pipeline` says which topics a hop reads and, last, which it writes.
Time comes to the stateful hops as ``triage.deadlines``; what no hop can handle ends in ``dead.letters``.
"""

from functools import partial

from schemas.topics import DEADLINES, DICOM_SERIES, RESULTS, STUDIES, alerts
from streams.alert import StudyAlert, alert
from streams.assemble import OpenStudy, assemble
from streams.hop import Gateway, Hop, StatefulHop, StatelessHop
from streams.infer import failed, infer, waiting
from streams.ports import Inference
from streams.site import Sites


def pipeline(sites: Sites, inference: Inference) -> tuple[Hop, ...]:
    """The hops in the order a study passes them."""
    notifications = tuple(alerts(site) for site in sites.names)
    decide_complete, decide_urgent = partial(assemble, sites), partial(alert, sites)
    return (
        Gateway("receive", DICOM_SERIES),
        StatefulHop("assemble", (DICOM_SERIES, DEADLINES), "studies", OpenStudy, decide_complete, (STUDIES, DEADLINES)),
        StatelessHop("infer", (STUDIES,), partial(infer, sites, inference), waiting, failed, (RESULTS,)),
        StatefulHop("alert", (RESULTS, DEADLINES), "alerts", StudyAlert, decide_urgent, (*notifications, DEADLINES)),
    )
