"""The door to the models: Triton, the contract its models keep, and the record of what they answered."""
