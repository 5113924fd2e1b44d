"""The whole flow, one line a hop. Read the files in this order and you have read sinsok.

==========  ==================  =================  ==========================================================
hop         from                to                 decides
==========  ==================  =================  ==========================================================
receive     scanners, PACS      dicom.series       nothing: it stores what comes, durably (gateways/dicom)
assemble    dicom.series        triage.studies     when a study has arrived (streams/assemble.py)
infer       triage.studies      triage.results     which model looks at it, and what it saw (streams/infer.py)
alert       triage.results      alerts.<site>      whether somebody has to look now (streams/alert.py)
==========  ==================  =================  ==========================================================

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
