"""Errors that a user can cause; each message says what was given, what is allowed, what to type.

Entry points print them as one line and exit with code 1; anything else is a bug and keeps its
traceback.
"""


class UserError(Exception):
    """Something outside the program is wrong: a config value, a file, a folder."""


class ConfigError(UserError):
    """A config key or value is wrong; the message names its path."""


class DataError(UserError):
    """An image, label, list or folder is wrong; the message names the file."""


class TrainingError(UserError):
    """Training cannot continue; the message names the step and the images."""


class WeightsError(UserError):
    """A file of weights is wrong or does not fit the net; the message names the file or layer."""


class OtherVersionError(WeightsError):
    """A sound checkpoint from another version of fcnexp; the message names the version."""


class ExportError(UserError):
    """A net cannot be exported, or an export cannot be run; the message names net and format."""
