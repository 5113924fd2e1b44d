"""Images: stored DICOM instances to a volume, a model's label map to findings, and both to a picture."""
