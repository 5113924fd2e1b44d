"""The web console: what people see of studies and alerts, and what they say of them.

Read in this order: view.py (all that is known, from Kafka), access.py (who may see what of it), pages.py (what is
shown), acts.py (what people do), console.py (the process).
"""
