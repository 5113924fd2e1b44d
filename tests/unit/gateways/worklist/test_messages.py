"""The messages, held against the standard and field by field."""

import pytest

from gateways.worklist.header import control_id
from gateways.worklist.order_change import order_change
from gateways.worklist.oru import oru
from schemas.events import Priority
from schemas.failures import Refused
from tests.unit.gateways.worklist.examples import (
    DESTINATION,
    LOCAL_FINDING,
    NAME,
    OUTSIDE_KS_X_1001,
    finding,
    head,
    settings,
    triaged,
    update,
)
from tests.unit.gateways.worklist.hl7_read import assert_conforms, names, value, values

FINDINGS = (finding(), LOCAL_FINDING)
ALL = [
    (kind, version)
    for kind in ("oru", "orm", "omi")
    for version in ("2.3.1", "2.4", "2.5", "2.5.1")
    if kind != "omi" or version.startswith("2.5")
]


def written(kind, of, site):
    identifier = control_id(of.result, kind, DESTINATION)
    return oru(of, site, identifier) if kind == "oru" else order_change(of, site, identifier, kind)


@pytest.mark.parametrize("charset", ["utf-8", "euc-kr"])
@pytest.mark.parametrize(("kind", "version"), ALL)
def test_every_message_conforms(kind, version, charset):
    site = settings(version=version, charset=charset, language="ko", messages=(kind,))
    message = written(kind, update(triaged(*FINDINGS)), site)
    assert_conforms(message, site)
    assert value(message, "MSH", 12) == version


@pytest.mark.parametrize("kind", ["oru", "orm", "omi"])
def test_a_message_is_the_same_whenever_it_is_built(kind):
    first, second = (written(kind, update(triaged(*FINDINGS)), settings()) for _ in range(2))
    assert first == second
    identifiers = {
        control_id(triaged(*FINDINGS, revision=n), k, d) for n in (1, 2) for k in ("oru", kind) for d in "ab"
    }
    assert len(identifiers) == (4 if kind == "oru" else 8)
    assert all(len(identifier) <= 20 for identifier in identifiers)


def test_a_result_names_the_study_its_findings_and_who_saw_them():
    message = written("oru", update(triaged(*FINDINGS)), settings())
    assert names(message)[:5] == ["MSH", "PID", "PV1", "OBR", "TQ1"]
    assert value(message, "MSH", 7) == "20300102000010.000+0900"
    assert values(message, "OBX", 3)[0] == "113014^DICOM Study^DCM"
    assert values(message, "OBX", 5)[0] == "2.25.100"
    assert values(message, "OBX", 11) == ["O"] + ["F"] * 8
    coded = [v for v, k in zip(values(message, "OBX", 5), values(message, "OBX", 3), strict=True) if "121071" in k]
    assert coded == ["1386000^Intracranial hemorrhage^SCT", "EAH^Extra-axial haemorrhage^99SINSOK"]
    assert values(message, "OBX", 4) == ["", "1", "1", "1", "1", "2", "2", "2", ""]
    assert "12.34" in values(message, "OBX", 5)
    assert "mL^milliliter^UCUM" in values(message, "OBX", 6)
    assert "7771000^Left^SCT" in values(message, "OBX", 5)
    assert set(values(message, "OBX", 18)) == {"ich_hyperdensity@1^SINSOK"}
    assert value(message, "TQ1", 9) == "S^Stat^HL70485"
    assert value(message, "OBR", 27) == "^^^^^S"
    assert "Not for diagnosis without a physician." in values(message, "OBX", 5)[-1]


@pytest.mark.parametrize(
    ("before", "changes", "status"),
    [
        (None, {"unconfirmed": True, "final": False}, "P"),
        (None, {"final": False}, "P"),
        (None, {}, "F"),
        (triaged(finding(), unconfirmed=True, final=False), {}, "F"),
        (triaged(finding()), {}, "C"),
        (triaged(finding()), {"final": False}, "C"),
    ],
)
def test_the_status_says_whether_the_result_is_preliminary_final_or_a_correction(before, changes, status):
    result = triaged(finding(), revision=2, **changes)
    message = written("oru", update(result, Priority.STAT if before else None, before=before), settings())
    assert value(message, "OBR", 25) == status
    assert set(values(message, "OBX", 11)) == {"O", status}


def test_a_site_may_call_confirmed_results_not_verified():
    message = written("oru", update(triaged(finding())), settings(confirmed_status="R"))
    assert value(message, "OBR", 25) == "R"


@pytest.mark.parametrize("status", ["D", "W"])
def test_findings_that_were_taken_back_are_named_and_withdrawn(status):
    before = triaged(*FINDINGS)
    site = settings(withdrawn_status=status)
    message = written("oru", update(triaged(revision=2), Priority.STAT, before=before), site)
    assert_conforms(message, site)
    said = list(zip(values(message, "OBX", 3), values(message, "OBX", 4), values(message, "OBX", 11), strict=True))
    assert ("121071^Finding^DCM", "1", status) in said
    assert ("121071^Finding^DCM", "2", status) in said
    assert ("272741003^Laterality^SCT", "1", status) in said
    assert value(message, "OBR", 25) == "C"
    assert value(message, "OBR", 27) == "^^^^^R"


def test_only_the_lesion_that_is_gone_is_withdrawn():
    message = written("oru", update(triaged(finding(), revision=2), before=triaged(*FINDINGS)), settings())
    assert dict(zip(values(message, "OBX", 4), values(message, "OBX", 11), strict=True))["1"] == "C"
    assert dict(zip(values(message, "OBX", 4), values(message, "OBX", 11), strict=True))["2"] == "D"


def test_a_withdrawal_of_findings_nobody_remembers_is_a_correction_in_words():
    message = written("oru", update(triaged(revision=2), Priority.STAT), settings())
    assert value(message, "OBR", 25) == "C"
    assert values(message, "OBX", 11) == ["O", "C"]
    assert "taken back" in values(message, "OBX", 5)[-1]


def test_an_order_change_names_the_order_and_its_new_priority():
    message = written("orm", update(triaged(*FINDINGS)), settings())
    assert names(message) == ["MSH", "PID", "PV1", "ORC", "OBR", "NTE", "ZDS"]
    assert (value(message, "ORC", 1), value(message, "ORC", 3)) == ("XO", "ACC-0001")
    assert value(message, "ORC", 7) == value(message, "OBR", 27) == "^^^^^S"
    assert value(message, "ZDS", 1) == "2.25.100^SINSOK^Application^DICOM"


def test_an_imaging_order_change_names_study_and_procedure_in_ipc():
    message = written("omi", update(triaged(*FINDINGS)), settings())
    assert names(message) == ["MSH", "PID", "PV1", "ORC", "TQ1", "OBR", "NTE", "IPC"]
    assert value(message, "TQ1", 9) == "S^Stat^HL70485"
    assert [value(message, "IPC", n) for n in (1, 2, 3, 4)] == ["ACC-0001", "RP-0001", "2.25.100", "SPS-0001"]


def test_a_priority_goes_back_with_its_reason():
    message = written("orm", update(triaged(revision=2), Priority.STAT), settings())
    assert value(message, "ORC", 7) == "^^^^^R"
    assert "took its finding back" in value(message, "ORC", 16)


def test_a_site_has_its_own_words_and_codes():
    site = settings(
        priorities={"stat": "E"}, order_control="XX", local_coding_system="L", sending_application="A^1.2^ISO"
    )
    message = written("omi", update(triaged(LOCAL_FINDING)), site)
    assert (value(message, "TQ1", 9), value(message, "ORC", 1), value(message, "MSH", 3)) == ("E", "XX", "A^1.2^ISO")
    assert "EAH^Extra-axial haemorrhage^L" in values(written("oru", update(triaged(LOCAL_FINDING)), site), "OBX", 5)


def test_names_are_written_once_for_each_script():
    message = written("oru", update(triaged(*FINDINGS)), settings())
    assert value(message, "PID", 5) == "KANA^PHANTOM^^^^^L^A~假名^人體模型^^^^^L^I~가나^팬텀^^^^^L^P"
    assert value(message, "PID", 3) == "PHANTOM-0001^^^SUWON^PI"
    assert (value(message, "PID", 7), value(message, "PID", 8)) == ("19000101", "O")


def test_prefix_and_suffix_change_places():
    message = written(
        "oru", update(triaged(*FINDINGS), head=head(PatientName="FAMILY^GIVEN^MIDDLE^PRE^SUF")), settings()
    )
    assert value(message, "PID", 5) == "FAMILY^GIVEN^MIDDLE^SUF^PRE^^L^A"


def test_separators_and_line_breaks_in_values_do_not_break_a_message():
    awkward = "|^~&\r\nMSH|^~&|\x0b\x1c"
    of = update(triaged(*FINDINGS), head=head(AccessionNumber=awkward, StudyDescription=awkward, PatientID="A&B|C"))
    for kind in ("oru", "orm", "omi"):
        message = written(kind, of, settings())
        parsed = assert_conforms(message, settings())
        assert len(message.split("\r")) == len(names(message)) + 1
        assert not set(message) & set("\n\x0b\x1c")
        assert parsed.msh.msh_9.value.startswith(kind.upper())
        assert value(message, "OBR", 18) == r"\F\\S\\R\\T\ MSH\F\\S\\R\\T\\F\ "


def test_text_that_a_character_set_does_not_have_is_replaced_where_everybody_sees_it():
    name = NAME.replace("가나", OUTSIDE_KS_X_1001)
    site = settings(charset="euc-kr")
    message = written(
        "oru", update(triaged(*FINDINGS), head=head(SpecificCharacterSet="ISO_IR 192", PatientName=name)), site
    )
    assert "□^팬텀" in assert_conforms(message, site).to_er7()


def test_images_that_do_not_say_whose_they_are_are_refused():
    with pytest.raises(Refused, match="Patient ID"):
        written("oru", update(triaged(*FINDINGS), head=head(PatientID=None)), settings())


def test_an_order_that_nothing_names_is_refused_but_its_result_is_not():
    of = update(triaged(*FINDINGS), head=head(AccessionNumber=None))
    with pytest.raises(Refused, match="accession"):
        written("orm", of, settings())
    assert value(written("oru", of, settings()), "OBR", 3) == "2.25.100"


def test_the_order_of_a_physician_is_not_lowered():
    of = update(triaged(revision=2), Priority.STAT, head=head(RequestedProcedurePriority="STAT"))
    assert value(written("orm", of, settings()), "ORC", 7) == "^^^^^S"


def test_a_bare_head_is_enough():
    bare = head(
        IssuerOfPatientID=None,
        PatientName=None,
        PatientBirthDate=None,
        PatientSex=None,
        StudyDescription=None,
        RequestAttributesSequence=None,
    )
    site = settings(assigning_authority="SUWON")
    for kind in ("oru", "orm", "omi"):
        message = written(kind, update(triaged(*FINDINGS), head=bare), site)
        assert_conforms(message, site)
        assert value(message, "PID", 3) == "PHANTOM-0001^^^SUWON^PI"
