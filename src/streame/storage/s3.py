"""A bucket of S3, or of a store that speaks its language."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

from streame.core.locations import OBJECT_STORE
from streame.errors import CheckpointError, PlanError
from streame.storage.bucket import Bucket, NoAnswer, Occupied

try:
    import obstore
    from obstore.exceptions import (
        AlreadyExistsError,
        BaseError,
        PermissionDeniedError,
        UnauthenticatedError,
    )
    from obstore.store import S3Store
except ImportError:  # the extra is not installed
    S3Store = None  # type: ignore[assignment,misc,unused-ignore]

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 60.0

_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")


class S3Bucket(Bucket):
    """Objects under a prefix of a bucket.

    Address, region and keys come from the usual variables: `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, or from the role of the machine.

    Args:
        url: as in `s3://bucket/prefix`.
        environment: the variables.
        request_seconds: no request takes longer.

    Raises:
        PlanError: when the URL or the endpoint cannot be understood, or the package obstore is missing.
        CheckpointError: when one of the two keys is missing.
    """

    def __init__(
        self, url: str, environment: Mapping[str, str], request_seconds: float = REQUEST_SECONDS
    ) -> None:
        match = _URL.fullmatch(url)
        if match is None:
            raise PlanError(f"{url!r} is not the address of a bucket; write s3://bucket/prefix")
        if S3Store is None:
            raise PlanError(f"{url} needs the package obstore; install it with: pip install 'streame[s3]'")
        self._bucket, prefix = match[1], (match[2] or "").strip("/")
        self.where = f"{OBJECT_STORE}{self._bucket}/{prefix}".rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint = next((environment[each] for each in ENDPOINTS if environment.get(each)), None)
        if self._endpoint is not None and not self._endpoint.startswith(("http://", "https://")):
            raise PlanError(f"AWS_ENDPOINT_URL: {self._endpoint!r} is no address; write https://host:port")
        self._has_keys = bool(environment.get("AWS_ACCESS_KEY_ID"))
        config: dict[str, Any] = {
            "endpoint": self._endpoint,
            "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
            "access_key_id": environment.get("AWS_ACCESS_KEY_ID"),
            "secret_access_key": environment.get("AWS_SECRET_ACCESS_KEY"),
            "session_token": environment.get("AWS_SESSION_TOKEN"),
        }
        with self._explained():
            self._store = S3Store(
                self._bucket,
                config={name: value for name, value in config.items() if value},  # type: ignore[arg-type]
                client_options={
                    "allow_http": (self._endpoint or "").startswith("http://"),
                    "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, request_seconds)),
                    "timeout": timedelta(seconds=request_seconds),
                },
                # A write of its own that it repeats is reported as somebody else's.
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=request_seconds)},
            )

    def create(self, name: str, data: bytes) -> None:
        """See `Bucket`."""
        with self._explained():
            try:
                obstore.put(self._store, self._prefix + name, data, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                raise Occupied(_said(error)) from error

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Bucket`."""
        if length == 0:
            return b""
        with self._explained():
            try:
                if length is None and offset == 0:
                    return bytes(obstore.get(self._store, self._prefix + name).bytes())
                range_ = {"offset": offset} if length is None else (offset, offset + length)
                options: Any = {"range": range_}
                return bytes(obstore.get(self._store, self._prefix + name, options=options).bytes())
            except BaseError as error:
                if "416 Range Not Satisfiable" in str(error):
                    return b""
                raise

    def size(self, name: str) -> int | None:
        """See `Bucket`."""
        with self._explained():
            try:
                return obstore.head(self._store, self._prefix + name)["size"]
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        """See `Bucket`."""
        with self._explained():
            pages = obstore.list(self._store, prefix=self._prefix + folder)
            return sorted(each["path"].removeprefix(self._prefix) for page in pages for each in page)

    def remove(self, names: Iterable[str]) -> None:
        """See `Bucket`."""
        with self._explained():
            for name in names:  # one by one: not every store can remove many
                obstore.delete(self._store, self._prefix + name)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors in the words of `Bucket`."""
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                self._no_bucket(error)
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise CheckpointError(
                f"{self.where}: access was refused ({_said(error)}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
                "what they may do: list, read, write and delete objects"
            ) from error
        except BaseError as error:
            said = _said(error)
            if "NoSuchBucket" in str(error):
                self._no_bucket(error)
            if said.startswith("Missing") or "redirect" in said:
                raise CheckpointError(
                    f"{self.where}: {said}; set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL "
                    "for a store that is not Amazon's"
                ) from error
            if not self._has_keys:
                said += "; AWS_ACCESS_KEY_ID is not set, so the keys are those of this machine's role, if it has one"
            raise NoAnswer(said) from error

    def _no_bucket(self, error: Exception) -> NoReturn:
        at = self._endpoint or "Amazon"
        raise CheckpointError(
            f"{self.where}: there is no bucket {self._bucket!r} at {at}; make it first, or correct the name"
        ) from error


def _said(error: Exception) -> str:
    """What an error says, without the object it was about and the inner life of the client."""
    text = str(error).partition("\n\nDebug source:")[0]
    code, message = re.search(r"<Code>(.*?)</Code>", text), re.search(r"<Message>(.*?)</Message>", text)
    if code is not None:
        return f"{code[1]}: {message[1]}" if message else code[1]
    return " ".join(text.removeprefix("Generic S3 error: ").split())[:300]
