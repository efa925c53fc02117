"""Errors that are the user's business. Light, so that whoever tells them need not import what raises them."""


class CodeError(Exception):
    """Something wrong in the user's own code, told as theirs: file, line, message. One line."""


class DataError(ValueError):
    """The user's data are not what they should be. One line, with the file."""
