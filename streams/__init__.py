"""The decisions: one hop, one file. Start with :mod:`streams.pipeline`, the table of hops."""
