"""Real data breaks the rules of DICOM, and a receiver that refuses it loses it."""

import pydicom.config
from pynetdicom import _config  # its documented options live in this module


def accept_what_comes() -> None:
    """Set the options of pydicom and pynetdicom, which are global to a process, for receiving whatever is sent.

    pydicom: no warning for a value that breaks its VR, such as a UID with letters in it. pynetdicom: presentation
    contexts of private storage classes are accepted in any transfer syntax, every C-STORE reaches our handler (which
    answers 0x0122 itself), and messages are not logged, for they hold identifiers.
    """
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.LOG_HANDLER_LEVEL = "none"
