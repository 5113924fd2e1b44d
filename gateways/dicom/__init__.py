"""The DICOM door: C-STORE and C-ECHO in; stored bytes, a journal and events out.

Reading order: ``gateway`` (what is wired to what), ``server`` (DICOM's side), ``receiver`` (one C-STORE), ``committer``
and ``journal`` (what makes it durable), ``batches`` (what becomes an event) and ``outbox`` (how it reaches Kafka).
"""
