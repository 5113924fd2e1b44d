"""Audit messages are as PS3.15 has them, and name no patient."""

from pathlib import Path
from typing import Any, Final

import pytest
from lxml import etree

from gateways.audit.atna import message_of, xml_of
from gateways.audit.syslog import frame
from schemas.base import Event, StudyEvent
from schemas.events import DeadlinePassed, SeriesReceived
from schemas.steps import StepTaken
from tests.unit.gateways.audit.examples import AT
from tests.unit.schemas.examples import JOURNEY

SCHEMA: Final = etree.RelaxNG(file=Path(__file__).parents[3] / "standard_audit.rng")
TOLD: Final = [event for event in {type(one): one for one in JOURNEY}.values() if message_of(event) is not None]


def xml(event: Event) -> Any:
    message = message_of(event)
    assert message is not None
    return etree.fromstring(xml_of(event, message, "sinsok"))


@pytest.mark.parametrize("event", TOLD, ids=lambda event: type(event).__name__)
def test_each_message_is_as_the_standard_has_it(event):
    root = xml(event)

    SCHEMA.assertValid(root)
    studies = root.xpath("ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole='3']/@ParticipantObjectID")
    assert studies == ([event.study_uid] if isinstance(event, StudyEvent) else [])
    assert not root.xpath("ParticipantObjectIdentification[@ParticipantObjectTypeCode='1']"), "a person: the patient"


def test_the_messages_are_those_of_the_standard():
    told = {
        type(event).__name__: xml(event).xpath("string(EventIdentification/EventID/@originalText)") for event in TOLD
    }

    assert told["SeriesReceived"] == told["ResultArchived"] == "DICOM Instances Transferred"
    assert told["StudyViewed"] == "DICOM Instances Accessed"
    assert told["StudyTriaged"] == told["AlertAcknowledged"] == "Procedure Record"
    assert told["WorklistUpdated"] == "Order Record"
    assert told["AuditExported"] == "Audit Log Used"
    assert told["ReplayStarted"] == "Application Activity"
    assert told["LetterRequeued"] == "Security Alert"


def test_a_series_says_who_sent_it_where_to_and_how_much():
    event = next(one for one in JOURNEY if isinstance(one, SeriesReceived))
    root = xml(event)

    roles = {one.find("RoleIDCode").get("csd-code"): one.get("UserID") for one in root.findall("ActiveParticipant")}
    assert roles == {"110153": event.sending_ae, "110152": event.called_ae}
    sop_class = root.find(".//SOPClass")
    assert sop_class.get("NumberOfInstances") == str(event.series.instances)
    assert sop_class.get("UID") == event.series.sop_classes[0]


def test_what_is_the_installations_own_business_has_no_message():
    assert {type(one) for one in JOURNEY if message_of(one) is None} >= {StepTaken, DeadlinePassed}


def test_what_xml_cannot_hold_is_replaced():
    event = next(one for one in JOURNEY if isinstance(one, SeriesReceived))

    root = xml(event.model_copy(update={"sending_ae": 'CT\x001<"&\x1b', "study_uid": "1.2\x02.3"}))

    SCHEMA.assertValid(root)
    assert root.find("ActiveParticipant").get("UserID") == 'CT\ufffd1<"&\ufffd'


def test_a_syslog_message_stands_behind_its_length_in_bytes():
    framed = frame("<AuditMessage>가</AuditMessage>".encode(), AT, "host", 7)

    length, _, message = framed.partition(b" ")
    assert int(length) == len(message)
    assert message.startswith(
        b"<85>1 2026-11-26T03:00:00.000Z host sinsok 7 DICOM+RFC3881 - \xef\xbb\xbf<AuditMessage>"
    )
