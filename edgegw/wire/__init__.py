"""The bytes on the wire: CBOR, SenML records, COSE signatures, the Merkle log and its verification.

Nothing here imports the rest of the gateway, so that a consumer may use it alone; beside the standard
library it needs cbor2 and cryptography.
"""
