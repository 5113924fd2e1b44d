"""Weights that others publish: read without trusting them, rewritten for our models, put beside those models' code.

``legacy_torch`` reads the published files, ``deepmedic_onnx`` knows their network, ``npz`` and ``installation`` write,
all of a model's files or none, and ``blast_ct`` names what comes from where.
"""
