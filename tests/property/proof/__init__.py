"""What the property, conformance and parity tests are made of: schemas, documents, generators, oracles, the
contract's tables.
"""
