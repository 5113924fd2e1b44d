"""A worklist that takes workitems over DICOMweb: one that asks for the reading of a study, created, changed, cancelled.

UPS-RS, PS3.18, chapter 11. We create and change only workitems that nobody has begun. Who begins one sets its
Transaction UID, and only who knows it may change the workitem from then on; all we can do then is ask for its
cancellation.
"""

from typing import Literal

from pydicom.dataset import Dataset

from gateways.worklist import bearing
from gateways.worklist.dicomweb import DicomWeb
from gateways.worklist.order import read_order
from gateways.worklist.port import Update, Updated
from gateways.worklist.settings import UpsSettings
from gateways.worklist.workitem import cancelled, changed, created, state, told_result, workitem_uid
from schemas.events import Priority, StudyTriaged
from schemas.failures import Busy, Refused, Unavailable

_MOST = 32
_ACCEPTED = 202
_ENDED = {"COMPLETED", "CANCELED"}
_NO_WORKITEM = "2.25.0"


class UpsWorklist:
    """Tells a UPS-RS server. ``destination`` is its name in the configuration: suwon/ups."""

    protocol: Literal["ups"] = "ups"

    def __init__(self, settings: UpsSettings, destination: str) -> None:
        self._settings = settings
        self._destination = destination
        self._server = DicomWeb(settings)

    def wants(self, result: StudyTriaged, told: Priority | None, before: StudyTriaged | None = None) -> bool:
        """Whether a workitem would be created, changed or cancelled. Pure."""
        return bearing.is_told(result, told, before, unconfirmed=self._settings.unconfirmed == "send")

    def update(self, update: Update) -> Updated:
        """Find the study's workitem as it stands, and do what is left to do.

        The server knows what became of a workitem, so nothing is remembered here. Sent again, the same update finds its
        own work and changes nothing.
        """
        try:
            return self._update(update)
        except (Busy, Refused) as error:
            return Updated(failure=error)

    def reach(self) -> None:
        """Ask for a workitem that nobody has."""
        self._server.ask("GET", f"/workitems/{_NO_WORKITEM}", expected={200, 404, 410})

    def close(self) -> None:
        """Nothing to let go of: each request has its own connection."""

    def _update(self, update: Update) -> Updated:
        # Where nothing asks for the reading any more, the study is as urgent as any.
        left = Updated() if bearing.raises(update.result) else Updated(priority=update.result.priority)
        for number in range(_MOST):
            uid = workitem_uid(update.result, self._destination, number)
            workitem = self._retrieve(uid)
            if isinstance(workitem, Dataset):
                is_told = told_result(workitem) == str(update.result.event_id)
                if state(workitem) not in _ENDED:
                    return self._change(update, uid, state(workitem), is_told=is_told)
                if is_told:
                    return self._told(update, uid)
                if not self._needs_another(update):
                    return left
            elif workitem is None:
                if not bearing.raises(update.result):
                    return left
                self._ask("POST", f"/workitems?workitem={uid}", created(update, self._settings, uid), {201})
                return self._told(update, uid)
        raise Refused(f"the study has had {_MOST} workitems")

    def _needs_another(self, update: Update) -> bool:
        """The last workitem has ended: somebody has to look again only where the study became more urgent."""
        said = bearing.said(update.told, update.before)
        return said is None or update.result.priority.rank < said.rank

    def _change(self, update: Update, uid: str, state: str, *, is_told: bool) -> Updated:
        cancels = not bearing.raises(update.result) and self._settings.taken_back == "cancel" and self._settings.lower
        if cancels:
            # 409: already in progress, or ended in between: who reads it decides.
            status = self._ask("POST", f"/workitems/{uid}/cancelrequest", cancelled(self._settings), {202, 409})
            return Updated((uid,) if status == _ACCEPTED else (), update.result.priority)
        if state != "SCHEDULED":
            return self._told(update, uid) if is_told else Updated()
        self._ask("POST", f"/workitems/{uid}", changed(update, self._settings), {200})
        return self._told(update, uid)

    def _told(self, update: Update, uid: str) -> Updated:
        ordered = read_order(update.head).priority
        return Updated((uid,), bearing.to_tell(update.result, update.told, ordered, lower=self._settings.lower))

    def _retrieve(self, uid: str) -> Dataset | Literal["gone"] | None:
        status, content = self._server.ask("GET", f"/workitems/{uid}", expected={200, 404, 410})
        if status != 200:
            return None if status == 404 else "gone"
        try:
            workitem = Dataset.from_json(content[0] if isinstance(content, list) else content)
        except Exception as error:  # noqa: BLE001 - what JSON that is no DICOM makes pydicom raise has no end
            raise Unavailable(f"the worklist's workitem cannot be read: {type(error).__name__}") from None
        if not state(workitem):
            raise Unavailable("the worklist's workitem has no Procedure Step State (0074,1000)")
        return workitem

    def _ask(self, method: str, path: str, body: object, expected: set[int]) -> int:
        status, _ = self._server.ask(method, path, [body], expected=expected | {409, 410})
        if status not in expected:
            raise Busy("the workitem changed while we looked at it; it is looked at again")
        return status
