"""One gRPC channel for each endpoint, and which of them is asked now."""

import threading
from dataclasses import dataclass

import grpc

from streame.cluster.etcd.settings import EtcdSettings, read_file, read_secret

PEER_TIMEOUT_MS = 1500
"""After that long without an answer to a ping a connection is given up."""

RECEIVED_BYTES_MAX = 64 << 20
"""The largest answer: a page of keys with the largest values that there can be."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    # etcd hangs up on clients that ping more often than every 5 s. Keepalive alone does not notice a stopped peer:
    # the pings that gRPC sends to measure the connection have a time limit of their own, a minute unless told.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", PEER_TIMEOUT_MS),
    ("grpc.http2.ping_timeout_ms", PEER_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),  # only we know what may be tried again
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", RECEIVED_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One member of etcd, and the channel to it."""

    number: int
    address: str
    channel: grpc.Channel


class Channels:
    """The channels to all endpoints; all callers ask the same one until it fails.

    Args:
        settings: where etcd is; the files are read now.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        credentials = _credentials(settings)
        self.endpoints = tuple(
            Endpoint(number, address, _channel(address, credentials))
            for number, address in enumerate(settings.endpoints)
        )
        self._lock = threading.Lock()
        self._current = 0

    def current(self) -> Endpoint:
        """The endpoint to ask."""
        with self._lock:
            return self.endpoints[self._current]

    def leave(self, endpoint: Endpoint) -> None:
        """Ask the next one from now on, if `endpoint` still is the one that is asked."""
        with self._lock:
            if self._current == endpoint.number:
                self._current = (endpoint.number + 1) % len(self.endpoints)

    def close(self) -> None:
        """Close all channels; calls that are under way end."""
        for endpoint in self.endpoints:
            endpoint.channel.close()


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(address, _OPTIONS)
    return grpc.secure_channel(address, credentials, _OPTIONS)


def _credentials(settings: EtcdSettings) -> grpc.ChannelCredentials | None:
    if settings.ca_file is None:
        return None
    roots = read_file(settings.ca_file, "CA certificates")
    if settings.certificate_file is None or settings.key_file is None:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(
        roots,
        read_secret(settings.key_file, "private key"),
        read_file(settings.certificate_file, "certificate"),
    )
