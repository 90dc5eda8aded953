"""Who may call a server: asked before any handler runs, by the certificate of the connection."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

import grpc

from streame.cluster.identity import Role, peer_identity, refusal
from streame.errors import PlanError

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class PeerCheck(grpc.ServerInterceptor):
    """Refuses calls of other clusters and other roles with PERMISSION_DENIED, for all methods of a server.

    Args:
        cluster: whose cluster this is.
        roles: who may call.
        also: who may call besides, by the full name of a method.
    """

    def __init__(
        self, cluster: str, roles: Collection[Role], also: Mapping[str, Collection[Role]] | None = None
    ) -> None:
        self._cluster = cluster
        self._roles = frozenset(roles)
        self._also = dict(also or {})

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Handler | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Put the check in front of a handler; called by gRPC, in no order with others."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        inner = handler.stream_stream or handler.stream_unary or handler.unary_stream or handler.unary_unary
        assert inner is not None, handler
        make: Any = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        roles = self._roles.union(self._also.get(handler_call_details.method, ()))
        guarded = self._iterating(inner, roles) if handler.response_streaming else self._calling(inner, roles)
        made: Handler = make(guarded, handler.request_deserializer, handler.response_serializer)
        return made

    def _check(self, context: grpc.ServicerContext, roles: Collection[Role]) -> None:
        try:
            reason = refusal(peer_identity(context.auth_context()), self._cluster, roles)
        except PlanError as error:
            reason = str(error)
        if reason is not None:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, reason)

    def _calling(
        self, inner: Callable[[Any, grpc.ServicerContext], Any], roles: Collection[Role]
    ) -> Callable[..., Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            self._check(context, roles)
            return inner(request, context)

        return call

    def _iterating(
        self, inner: Callable[[Any, grpc.ServicerContext], Any], roles: Collection[Role]
    ) -> Callable[..., Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._check(context, roles)
            yield from inner(request, context)

        return call
