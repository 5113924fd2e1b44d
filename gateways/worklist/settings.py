"""What a site configures of its worklist: where it is, what it takes, and what its answers mean."""

from collections.abc import Mapping
from datetime import timedelta, timezone
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from gateways.tls import TlsSettings
from schemas.events import Priority

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[!-~\uac00-\ud7a3 ]{0,180}$", description="HD: NAME, or NAME^OID^ISO")]
MessageKind = Literal["oru", "orm", "omi"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PriorityCodes(_Section):
    """What is written for a priority in TQ1-9, ORC-7.6 and OBR-27.6 (HL7 table 0485)."""

    stat: str = "S"
    urgent: str = "A"
    routine: str = "R"

    def __getitem__(self, priority: Priority) -> str:
        """The code of a priority."""
        return {Priority.STAT: self.stat, Priority.URGENT: self.urgent, Priority.ROUTINE: self.routine}[priority]


class _Worklist(_Section):
    unconfirmed: Literal["send", "wait"] = Field(
        default="send", description="Whether a result is told before the second reading has confirmed it"
    )
    lower: bool = Field(default=True, description="Whether a finding that was taken back lowers the priority again")
    language: Literal["en", "ko"] = Field(default="en", description="Of what people read")
    connect_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    timeout_s: Annotated[float, Field(gt=0, description="For each answer of the worklist, as a whole")] = 30.0
    retry_first_s: Annotated[float, Field(gt=0, description="First pause while it is away; each is twice the last")] = (
        1.0
    )
    retry_longest_s: Annotated[float, Field(gt=0)] = 60.0


class Hl7Settings(_Worklist):
    """A worklist (RIS, interface engine) that takes HL7 v2 over MLLP."""

    protocol: Literal["hl7"] = "hl7"
    host: str
    port: Port = 2575
    tls: TlsSettings | None = None
    sending_application: Name = "SINSOK"
    sending_facility: Name = ""
    receiving_application: Name = ""
    receiving_facility: Name = ""
    messages: Annotated[tuple[MessageKind, ...], Field(min_length=1, description="Sent in this order")] = ("orm", "oru")
    version: Literal["2.3.1", "2.4", "2.5", "2.5.1"] = "2.5.1"
    charset: Literal["utf-8", "euc-kr", "cp949"] = Field(
        default="utf-8",
        description="euc-kr is KS X 1001; cp949 is what many Korean systems send under that name, with every syllable",
    )
    processing_id: Literal["P", "T", "D"] = "P"
    utc_offset: Annotated[str, Field(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d$", description="Of the times in messages")] = (
        "+09:00"
    )
    order_control: Literal["XO", "XX", "SC"] = Field(
        default="XO", description="ORC-1: we ask for the change; XX and SC say that it was made"
    )
    priorities: PriorityCodes = PriorityCodes()
    confirmed_status: Literal["F", "R"] = Field(
        default="F", description="OBR-25 of a confirmed result; R (not yet verified) where F would close the order"
    )
    withdrawn_status: Literal["D", "W"] = Field(default="D", description="OBX-11 of a finding that was taken back")
    local_coding_system: Literal["99SINSOK", "L"] = "99SINSOK"
    assigning_authority: Name = Field(default="", description="PID-3.4 where the images name no issuer")
    identifier_type: str = Field(default="PI", description="PID-3.5 (HL7 table 0203)")
    acknowledgment: Literal["original", "commit", "enhanced"] = Field(
        default="original", description="commit: safe receipt is enough; enhanced: then the application's answer"
    )
    ae_is: Literal["retry", "refused"] = Field(default="refused", description="What AE and CE mean at this receiver")
    ar_is: Literal["retry", "refused"] = Field(
        default="refused", description="What AR and CR mean: some receivers also say so while they are down"
    )
    repeat_error_text: bool = Field(
        default=False, description="Repeat the receiver's own words in errors: they may name a patient"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.messages)) != len(self.messages):
            raise ValueError("messages: each kind once")
        if "omi" in self.messages and not self.has_timing:
            raise ValueError("messages: omi needs version 2.5 or 2.5.1")
        return self

    @property
    def has_timing(self) -> bool:
        """TQ1, CWE and IPC came with version 2.5."""
        return self.version.startswith("2.5")

    @property
    def zone(self) -> timezone:
        """The time zone of the times in messages."""
        sign = -1 if self.utc_offset.startswith("-") else 1
        hours, minutes = self.utc_offset[1:].split(":")
        return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes)))


class UpsSettings(_Worklist):
    """A worklist manager that takes workitems over DICOMweb (UPS-RS, PS3.18, chapter 11)."""

    protocol: Literal["ups"] = "ups"
    url: Annotated[str, Field(pattern=r"^https?://[^/?#]+(/[^?#]*)?$", description="http://pacs/dicom-web")]
    tls: TlsSettings | None = None
    token: SecretStr | None = Field(default=None, description="OAuth 2.0 bearer token")
    worklist_label: Annotated[str, Field(max_length=64)] = Field(
        default="AI TRIAGE", description="Worklist Label (0074,1202)"
    )
    stat: Literal["HIGH", "MEDIUM", "LOW"] = "HIGH"
    urgent: Literal["HIGH", "MEDIUM", "LOW"] = "MEDIUM"
    routine: Literal["HIGH", "MEDIUM", "LOW"] = "LOW"
    taken_back: Literal["cancel", "lower"] = Field(
        default="cancel", description="A finding that was taken back cancels the workitem, or lowers its priority"
    )

    @property
    def priorities(self) -> Mapping[Priority, str]:
        """Scheduled Procedure Step Priority (0074,1200) of a priority."""
        return {Priority.STAT: self.stat, Priority.URGENT: self.urgent, Priority.ROUTINE: self.routine}


WorklistSettings = Annotated[Hl7Settings | UpsSettings, Field(discriminator="protocol")]
"""One worklist of a site."""
