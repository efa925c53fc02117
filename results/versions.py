"""The version of everything on disk, apart so that headers can be read without arrow."""

SCHEMA_VERSION = 1
"""In plans, headers and the metadata of every table. Readers refuse what is newer."""
