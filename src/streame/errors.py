"""All exceptions.

* StreameError
  x PlanError          your pipeline or a setting is wrong; raised while it is built
  x DataError          a row could not be read or computed; the message says which one
  x ConnectorError     the system on the other side of a source or a sink failed
"""


class StreameError(Exception):
    """The root of every exception that Streame raises on purpose."""


class PlanError(StreameError):
    """Your pipeline or a setting is wrong; raised while the pipeline is built, before a row is read."""


class DataError(StreameError):
    """A row could not be decoded, validated or computed, and `on_error="fail"` says to stop there."""


class ConnectorError(StreameError):
    """A source could not be read or a sink could not be written."""
