"""The directory that calibration leaves and an export in few bits reads.

`record` is the contract: files, schema and tensor names. `writer` writes the directory, `reader`
opens and checks it. It is a language model's or a codec's.
"""
