"""The directory that a calibration leaves and an export in few bits reads.

`record` is the contract: files, schema and tensor names. `writer` writes the directory, `reader`
opens and checks it. A directory is for one language model or for one codec.
"""
