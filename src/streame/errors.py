"""All exceptions.

* StreameError
  x PlanError          your pipeline or a setting is wrong; raised while it is built
  x DataError          a row could not be read or computed; the message says which one
  x ConnectorError     the system on the other side of a source or a sink failed
    + SourceDataLost   a source no longer has what comes after the last checkpoint
    + NotAccepted      a row that was given to a source was not taken; it can be given again
      - NotLeader      this node of a cluster takes no rows; the message and `leader` say which one does
    + SinkRegressed    the output lacks what was published before, and it is not kept any more
  x CheckpointError    state could not be saved or restored
    + CheckpointDamaged  a checkpoint is not what was written
    + PlanChanged      a checkpoint belongs to another plan, and something of it would be lost
    + Superseded       another process owns the checkpoints now
  x ClusterError       a cluster could not be joined or held together
    + PeerLost         another node has died, has stopped, or cannot be heard any more
    + EtcdError        etcd refused a request, or did not answer
      - EtcdUnavailable  no endpoint answered in time, and nothing was changed
      - Unknown        the answer to a transaction was lost; it may have happened
      - LeaseLost      a lease is gone, and the keys that went with it; take a new one
      - Compacted      the changes that a watch asked for are not kept any more; list the keys again
      - AccessDenied   user, password, certificate or role do not allow it
      - RequestTooLarge  a request is larger than etcd takes
      - NoSpace        etcd's quota is used up, and it takes no writes
"""


class StreameError(Exception):
    """The root of every exception that Streame raises on purpose."""


class PlanError(StreameError):
    """Your pipeline or a setting is wrong; raised while the pipeline is built, before a row is read."""


class DataError(StreameError):
    """A row could not be decoded, validated or computed, and `on_error="fail"` says to stop there."""


class ConnectorError(StreameError):
    """A source could not be read or a sink could not be written."""


class SourceDataLost(ConnectorError):  # noqa: N818 - the name that the documentation of other engines has taught
    """A source no longer has the rows that come after the last checkpoint: a file was cut off or removed."""


class NotAccepted(ConnectorError):  # noqa: N818
    """A row that was given to a source could not be made durable, and is not read; it can be given again."""


class NotLeader(NotAccepted):
    """A row was given to a node of a cluster that does not lead, and was not taken; it can be given to the leader.

    Args:
        message: what happened.
        leader: the address of the leader, `None` while there is none.
    """

    def __init__(self, message: str, leader: str | None = None) -> None:
        super().__init__(message)
        self.leader = leader


class SinkRegressed(ConnectorError):  # noqa: N818
    """The output lacks what was published before, and it is too old to be published again."""


class CheckpointError(StreameError):
    """The state of a job could not be saved or restored."""


class CheckpointDamaged(CheckpointError):  # noqa: N818
    """A checkpoint is not what was written, and going back behind it could lose or double output."""


class PlanChanged(CheckpointError):  # noqa: N818
    """A checkpoint belongs to a plan from which this one cannot go on; the message lists the difference."""


class Superseded(CheckpointError):  # noqa: N818
    """Another process owns the checkpoints of this job now."""


class StopOverdue(StreameError):  # noqa: N818
    """A job was told to stop, or has failed, and did not end in time."""


class ClusterError(StreameError):
    """The processes of a cluster could not find each other or work together."""


class PeerLost(ClusterError):  # noqa: N818
    """Another node has died, has stopped, or cannot be heard any more."""


class EtcdError(ClusterError):
    """etcd refused a request, or did not answer."""


class EtcdUnavailable(EtcdError):  # noqa: N818
    """No endpoint of etcd answered in time, and nothing was changed."""


class Unknown(EtcdError):  # noqa: N818
    """The answer to a transaction was lost: it may have happened, or may still happen. Read before trying it again."""


class LeaseLost(EtcdError):  # noqa: N818
    """A lease is gone, and the keys that went with it. That is routine: take a new one and begin again."""


class Compacted(EtcdError):  # noqa: N818
    """The changes that a watch asked for are not kept any more: list the keys, and watch from there."""


class AccessDenied(EtcdError):  # noqa: N818
    """User, password, certificate or role do not allow what was asked of etcd."""


class RequestTooLarge(EtcdError):  # noqa: N818
    """A request is larger than etcd takes."""


class NoSpace(EtcdError):  # noqa: N818
    """etcd's quota is used up, and it takes no writes until it is compacted and its alarm is disarmed."""
