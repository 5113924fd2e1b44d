"""The whole flow, one hop after the other. Read the files in this order and you have read sinsok.

- *receive* decides nothing: it stores what scanners and PACS send, durably (gateways/dicom).
- *assemble* decides when a study has arrived (streams/assemble.py).
- *infer* decides which model looks at it, and says what the model saw (streams/infer.py).
- *confirm* has a slower, more certain model read again where a route asks for it: the last word (streams/confirm.py).
- *alert* decides whether somebody has to look now (streams/alert.py).
- *escalate* decides who that is, and goes on until a person takes it (streams/escalate.py).
- *write*, *notify* and *console* decide nothing either: they put results into PACS and worklist (gateways/pacs,
  gateways/worklist), tell people (gateways/alerts), and show them what there is (gateways/console).
- *watch*, *audit* and *archive* look after the rest: what is silent becomes an alarm (gateways/watch), what happened is
  chained so that nobody changes it unnoticed (gateways/audit), and kept for years (gateways/archive).

Each line of :func:`pipeline` says which topics a hop reads and, last, which it writes.
Time comes to the stateful hops as ``triage.deadlines``; what no hop can handle ends in ``dead.letters``, and what each
hop did with each event, and why, in ``triage.steps``.
"""

from functools import partial

from schemas.topics import (
    ALARMS,
    AUDIT_ACTS,
    AUDIT_TRAIL,
    DEAD_LETTERS,
    DEADLINES,
    DELIVERIES,
    DICOM_SERIES,
    RESULTS,
    STEPS,
    STUDIES,
    alerts,
)
from streams import confirm as second
from streams import infer as first
from streams.alert import StudyAlert, alert
from streams.assemble import OpenStudy, assemble
from streams.escalate import OpenAlert, escalate
from streams.hop import Gateway, Hop, StatefulHop, StatelessHop
from streams.ports import Inference
from streams.site import Sites


def pipeline(sites: Sites, inference: Inference) -> tuple[Hop, ...]:
    """The hops in the order a study passes them, and its alert."""
    notifications = tuple(alerts(site) for site in sites.names)
    decide_complete, decide_urgent = partial(assemble, sites), partial(alert, sites)
    decide_who = partial(escalate, sites)
    kept = (
        DICOM_SERIES,
        DEADLINES,
        STUDIES,
        RESULTS,
        STEPS,
        *notifications,
        DELIVERIES,
        ALARMS,
        AUDIT_ACTS,
        DEAD_LETTERS,
    )
    shown = (DICOM_SERIES, STUDIES, RESULTS, *notifications, DELIVERIES)
    infer, confirm = partial(first.infer, sites, inference), partial(second.confirm, sites, inference)
    waiting, failed = partial(first.waiting, sites), partial(first.failed, sites)
    return (
        Gateway("receive", (), (DICOM_SERIES,)),
        StatefulHop("assemble", (DICOM_SERIES, DEADLINES), "studies", OpenStudy, decide_complete, (STUDIES, DEADLINES)),
        StatelessHop("infer", (STUDIES,), infer, waiting, failed, (RESULTS,)),
        StatelessHop("confirm", (STUDIES,), confirm, second.waiting, second.failed, (RESULTS,)),
        StatefulHop("alert", (RESULTS, DEADLINES), "alerts", StudyAlert, decide_urgent, (*notifications, DEADLINES)),
        StatefulHop(
            "escalate", (*notifications, DEADLINES), "pages", OpenAlert, decide_who, (*notifications, DEADLINES)
        ),
        Gateway("write", (RESULTS,), (DELIVERIES,)),
        Gateway("notify", notifications, notifications),
        Gateway("console", shown, (*notifications, AUDIT_ACTS)),
        Gateway("watch", (DICOM_SERIES, STUDIES, RESULTS), (ALARMS,)),
        Gateway("audit", kept, (AUDIT_TRAIL,)),
        Gateway("archive", (*kept, AUDIT_TRAIL), (AUDIT_ACTS,)),
    )
