"""The local stack: Kafka, Triton, Orthanc and our processes on one machine, started, watched and stopped."""
