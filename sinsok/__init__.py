"""The front desk: command line, settings, wiring and the local stack."""
