"""OBX: what the AI saw, coded and in words (HL7 v2.5.1, section 7.4.2).

OBX-4 numbers the lesions; with OBX-3 it names an observation over all messages about a study, so that a later message
can replace it, or take it back.
"""

from dataclasses import dataclass
from typing import Any, Literal

from gateways.worklist.bearing import is_last_word, takes_back
from gateways.worklist.fields import FormattedText, Value, segment, timestamp
from gateways.worklist.port import Update
from gateways.worklist.settings import Hl7Settings
from gateways.worklist.wording import lines
from schemas.codes import Code
from schemas.events import Finding, Priority, Side, StudyTriaged

Status = Literal["P", "F", "R", "C"]
Coded = tuple[str, str, str]

_STUDY = ("113014", "DICOM Study", "DCM")
_FINDING = ("121071", "Finding", "DCM")
_VOLUME = ("118565006", "Volume", "SCT")
_LATERALITY = ("272741003", "Laterality", "SCT")
_WORDS = ("59776-5", "Procedure findings", "LN")
_SIDES = {
    Side.LEFT: ("7771000", "Left", "SCT"),
    Side.RIGHT: ("24028007", "Right", "SCT"),
    Side.MIDLINE: ("260528009", "Median", "SCT"),
}


def result_status(update: Update, settings: Hl7Settings) -> Status:
    """OBR-25 (table 0123), and OBX-11 (table 0085) of what is said: preliminary, final, or a correction of what was."""
    corrects = update.before is not None and is_last_word(update.before)
    if corrects or (update.before is None and takes_back(update.result, update.told, None)):
        return "C"
    return settings.confirmed_status if is_last_word(update.result) else "P"


def observation_segments(update: Update, settings: Hl7Settings) -> list[Any]:
    """The study they are about, the observations, the earlier ones that no longer hold, and the result in words."""
    status = result_status(update, settings)
    now = _observations(update.result, settings)
    said = {one.name for one in now}
    earlier = _observations(update.before, settings) if update.before else []
    listed = [(_Observation("ST", _STUDY, "", update.result.study_uid), "O")]
    listed += [(one, status) for one in now]
    listed += [(one, settings.withdrawn_status) for one in earlier if one.name not in said]
    words = FormattedText("\r".join(lines(update.result, settings.language)))
    listed.append((_Observation("FT", _WORDS, "", words), status))
    return [one.segment(number, status, update.result, settings) for number, (one, status) in enumerate(listed, 1)]


@dataclass(frozen=True)
class _Observation:
    type: str
    code: Coded
    lesion: str
    value: Value
    units: Value = ""
    flag: str = ""
    probability: str = ""

    @property
    def name(self) -> tuple[str, str]:
        return (self.code[0], self.lesion)

    def segment(self, number: int, status: str, result: StudyTriaged, settings: Hl7Settings) -> Any:
        old = settings.version == "2.3.1"
        spoke = None if old else result.provenance
        return segment(
            "OBX",
            {
                1: str(number),
                2: self.type,
                3: self.code,
                4: self.lesion or ("0" if old else ""),
                5: self.value,
                6: self.units,
                8: self.flag,
                9: self.probability,
                11: status,
                14: timestamp(result.time.astimezone(settings.zone)),
                18: (f"{spoke.model}@{spoke.version}", "SINSOK") if spoke else "",
            },
        )


def _observations(result: StudyTriaged, settings: Hl7Settings) -> list[_Observation]:
    flag = "AA" if result.priority is Priority.STAT else "A"
    return [
        observation
        for lesion, finding in enumerate(result.findings, 1)
        for observation in _of_finding(finding, str(lesion), flag, settings)
    ]


def _of_finding(finding: Finding, lesion: str, flag: str, settings: Hl7Settings) -> list[_Observation]:
    coded = "CWE" if settings.has_timing else "CE"
    probability = ("PROBABILITY", "Probability", settings.local_coding_system)
    likely = f"{finding.probability:.2f}"
    said = [
        _Observation(coded, _FINDING, lesion, _code(finding.code, settings), flag=flag, probability=likely),
        _Observation("NM", probability, lesion, likely, units=("1", "no units", "UCUM")),
        _Observation("NM", _VOLUME, lesion, f"{finding.volume_ml:.2f}", units=("mL", "milliliter", "UCUM")),
    ]
    if finding.side:
        said.append(_Observation(coded, _LATERALITY, lesion, _SIDES[finding.side]))
    return said


def _code(code: Code, settings: Hl7Settings) -> Coded:
    scheme = settings.local_coding_system if code.scheme == "99SINSOK" else code.scheme
    return (code.value, code.meaning, scheme)
