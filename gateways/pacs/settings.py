"""What a site configures of its PACS: where it is, what is written there, and what counts as proof."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from gateways.dicom.settings import AeTitle
from gateways.tls import TlsSettings
from schemas.deliveries import ObjectKind, Proof

Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ObjectSettings(_Section):
    """Which objects a site wants, because PACS differ."""

    kinds: tuple[Literal[ObjectKind.REPORT, ObjectKind.SEGMENTATION, ObjectKind.KEY_IMAGE], ...] = (
        ObjectKind.REPORT,
        ObjectKind.SEGMENTATION,
        ObjectKind.KEY_IMAGE,
    )
    no_findings: Literal["nothing", "report"] = Field(
        default="nothing", description="Where a model looked and saw nothing"
    )
    not_analysed: Literal["nothing", "report"] = Field(
        default="nothing", description="Where no model looked: not applicable, or failed"
    )
    segmentation: Literal["binary", "fractional"] = "binary"
    language: Literal["en", "ko"] = Field(default="en", description="Of what people read in key images and reports")
    rejections: bool = Field(
        default=True, description="Earlier objects are rejected with a Key Object Selection (IHE IOCM)"
    )


class PacsSettings(_Section):
    """The PACS of a site."""

    host: str | None = Field(default=None, description="Where it is; not said: the Orthanc of the local stack")
    port: Port = 104
    called_ae: AeTitle = "PACS"
    calling_ae: AeTitle = "SINSOK"
    delivery: Literal["dimse", "dicomweb"] = "dimse"
    dicomweb_url: str | None = Field(default=None, description="Of STOW-RS and QIDO-RS, http://pacs/dicom-web")
    tls: TlsSettings | None = None
    username: str | None = Field(default=None, description="For DICOMweb (HTTP Basic)")
    password: SecretStr | None = Field(default=None, description="Better set as SINSOK_SITES__NAME__PACS__PASSWORD")
    objects: ObjectSettings = ObjectSettings()
    unconfirmed: Literal["findings", "never"] = Field(
        default="findings", description="Whether findings are written before the second reading has confirmed them"
    )
    superseded: Literal["skip", "write"] = Field(
        default="skip", description="Results that a newer one overtook while the PACS was away"
    )
    proof: Proof = Proof.COMMITMENT
    commitment_within_s: Annotated[float, Field(gt=0, description="Then it is asked again")] = 60.0
    commitment_attempts: Annotated[int, Field(ge=1, description="So often; then the objects are queried")] = 3
    check_patient: bool = Field(default=True, description="Compare the study's patient before writing (C-FIND, QIDO)")
    absent_study: Literal["wait", "write"] = Field(
        default="wait", description="Whether results of a study that is not in the PACS wait for it"
    )
    timeout_s: Annotated[float, Field(gt=0, description="For each answer of the PACS")] = 30.0
    repeat_error_text: bool = Field(
        default=False, description="Repeat the PACS's own words in errors: they may name a patient"
    )
    retry_first_s: Annotated[float, Field(gt=0)] = 1.0
    retry_longest_s: Annotated[float, Field(gt=0)] = 60.0
    held_again_s: Annotated[float, Field(gt=0, description="How often a held result is looked at again")] = 300.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.delivery == "dicomweb" and self.dicomweb_url is None:
            raise ValueError("delivery is dicomweb: set dicomweb_url")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.delivery == "dicomweb" and self.tls is not None and self.tls.server_name is not None:
            raise ValueError(
                "tls.server_name is for DIMSE: over DICOMweb the certificate bears the host of dicomweb_url"
            )
        return self
