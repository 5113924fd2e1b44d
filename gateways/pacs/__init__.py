"""Results into the PACS of each site: the objects, their delivery, and the proof that they are there."""
