"""The bundle, the one contract between export and runtime: names, manifest, verification."""
