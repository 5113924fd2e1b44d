"""One trace a study, from C-STORE to acknowledgement, made from the events and told over OpenTelemetry (OTLP)."""
