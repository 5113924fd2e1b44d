"""The priority of a study into the worklist of each site: HL7 v2 over MLLP, DICOM UPS."""
