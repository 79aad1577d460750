"""The gRPC service that the Pulumi engine talks to: checks by the SDK's schema, works through kinds of resources.

Nothing is ignored: an input, a resource or a function that the SDK or the double does not know is an error.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NoReturn

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.rpc import status_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.doubles.provider.diff import Change, changes
from tests.doubles.provider.kind import Cloud, CloudError, Function, HalfMadeError, Kind
from tests.doubles.provider.naming import autoname
from tests.doubles.provider.schema import UnknownTokenError, function_arguments, resource_schema
from tests.doubles.provider.values import UNKNOWN, Properties, from_struct, holds_unknown, to_struct

THREADS = 16
_SERVERS: dict[int, grpc.Server] = {}
"""The running servers, by the process id of the launcher that asked for each. One without a reference would stop."""

HOW = provider_pb2.PropertyDiff
KIND_OF_CHANGE = {
    ("add", False): HOW.ADD,
    ("add", True): HOW.ADD_REPLACE,
    ("delete", False): HOW.DELETE,
    ("delete", True): HOW.DELETE_REPLACE,
    ("update", False): HOW.UPDATE,
    ("update", True): HOW.UPDATE_REPLACE,
}


@dataclass
class Package(Generic[Cloud]):
    """A vendor's package as the double knows it."""

    version: str
    connect: Callable[[Properties, Mapping[str, str]], Cloud]
    """Provider settings, caller's environment -> the cloud behind the double. Raises CloudError for wrong settings."""

    kinds: Iterable[Kind[Cloud]]
    functions: Iterable[Function[Cloud]]
    provider_inputs: frozenset[str]
    by_token: dict[str, Kind[Cloud]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_token = {kind.token: kind for kind in self.kinds}
        self.functions_by_token = {function.token: function for function in self.functions}


class Provider(provider_pb2_grpc.ResourceProviderServicer, Generic[Cloud]):
    """One running provider; the engine starts one for each provider resource of the program."""

    def __init__(self, package: Package[Cloud], environ: Mapping[str, str]) -> None:
        self._package = package
        self._environ = environ
        self._cloud: Cloud | None = None

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return provider_pb2.ProviderHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version=self._package.version)

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        failures = [
            provider_pb2.CheckFailure(property=key, reason="the SDK knows no such setting")
            for key in from_struct(request.news)
            if key not in self._package.provider_inputs
        ]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _diff_response(changes(from_struct(request.old_inputs), from_struct(request.news), frozenset()), False)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        settings = {key: _decoded(value) for key, value in from_struct(request.args).items()}
        if not holds_unknown(settings):
            with _reported(context):
                self._cloud = self._package.connect(settings, self._environ)
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        kind, token = self._kind(request, context), _token(request.urn)
        news, olds = from_struct(request.news), from_struct(request.olds)
        failures = [(each.path, each.reason) for each in resource_schema(token).check(_without_name(kind, news))]
        failures += kind.check(news)
        if failures:
            refusals = [provider_pb2.CheckFailure(property=path, reason=why) for path, why in failures]
            return provider_pb2.CheckResponse(inputs=request.news, failures=refusals)
        return provider_pb2.CheckResponse(inputs=to_struct(autoname(kind.rules, request, news, olds)))

    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        rules = self._kind(request, context).rules
        found = changes(from_struct(request.old_inputs), from_struct(request.news), rules.immutable)
        return _diff_response(found, rules.delete_first)

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        kind, inputs = self._kind(request, context), from_struct(request.properties)
        if request.preview:
            outputs = resource_schema(kind.token).outputs - inputs.keys()
            return provider_pb2.CreateResponse(properties=to_struct(inputs | dict.fromkeys(outputs, UNKNOWN)))
        with _reported(context):
            try:
                identity = kind.create(self._connected(context), inputs)
            except HalfMadeError as error:
                _abort_half_made(context, error, inputs)
            return provider_pb2.CreateResponse(id=identity, properties=self._state(kind, identity, inputs))

    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        kind, state = self._kind(request, context), from_struct(request.properties)
        inputs = from_struct(request.inputs)
        with _reported(context):
            seen = _known(kind, kind.read(self._connected(context), request.id, state))
        if seen is None:
            return provider_pb2.ReadResponse()
        drifted = inputs | {
            key: value for key, value in seen.items() if key in inputs and key not in kind.rules.completed
        }
        return provider_pb2.ReadResponse(
            id=request.id, properties=to_struct(state | seen), inputs=to_struct(drifted or seen)
        )

    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        kind, news = self._kind(request, context), from_struct(request.news)
        olds = from_struct(request.olds)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=to_struct(olds | news))
        with _reported(context):
            kind.update(self._connected(context), request.id, olds, news)
            return provider_pb2.UpdateResponse(properties=self._state(kind, request.id, news))

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        kind = self._kind(request, context)
        with _reported(context):
            kind.delete(self._connected(context), request.id, from_struct(request.properties))
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        arguments = from_struct(request.args)
        function = self._package.functions_by_token.get(request.tok)
        if function is None:
            _abort(context, f"the double does not know the function {request.tok}; see tests/doubles/README.md")
        unknown = arguments.keys() - function_arguments(request.tok)
        if unknown:
            refusals = [
                provider_pb2.CheckFailure(property=key, reason="the SDK knows no such argument") for key in unknown
            ]
            return provider_pb2.InvokeResponse(failures=refusals)
        with _reported(context):
            result = function.call(self._connected(context), arguments)
        return getattr(provider_pb2, "InvokeResponse")(**{"return": to_struct(result)})  # noqa: B009

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def _kind(self, request: Any, context: grpc.ServicerContext) -> Kind[Cloud]:
        token = _token(request.urn)
        kind = self._package.by_token.get(token)
        if kind is None:
            _abort(context, f"the double does not know the resource {token}; see tests/doubles/README.md")
        return kind

    def _connected(self, context: grpc.ServicerContext) -> Cloud:
        if self._cloud is None:
            _abort(context, "the provider was never configured")
        return self._cloud

    def _state(self, kind: Kind[Cloud], identity: str, inputs: Properties) -> Any:
        """Return the outputs for the engine: the inputs, overridden by the cloud's answer."""
        assert self._cloud is not None
        seen = _known(kind, kind.read(self._cloud, identity, inputs))
        if seen is None:
            raise CloudError(f"{kind.token} {identity} was made and is not there")
        return to_struct(inputs | seen)


def start(package: Package[Any], environ: Mapping[str, str], pid: int) -> int:
    """Serve one provider from threads of this process, with the environment `environ`; return its port.

    The next start after the process `pid` has ended stops it: a waiting gRPC server wakes up several times a second.
    """
    for ended in [each for each in list(_SERVERS) if not Path(f"/proc/{each}").exists()]:
        if (unused := _SERVERS.pop(ended, None)) is not None:
            unused.stop(grace=None)
    options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(THREADS), options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(package, environ), server)
    port = int(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    _SERVERS[pid] = server
    return port


class _reported:  # noqa: N801  # reads as a word at its uses: with reported(context)
    """Turns a refusal of the cloud into the error that the vendor's plugin would give."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, CloudError | UnknownTokenError):
            _abort(self._context, str(error))


def _abort_half_made(context: grpc.ServicerContext, error: HalfMadeError, inputs: Properties) -> NoReturn:
    """Fail like the vendors' plugins after a creation: with the id, so that the engine keeps the resource."""
    failed = provider_pb2.ErrorResourceInitFailed(
        id=error.identity, properties=to_struct(inputs), inputs=to_struct(inputs), reasons=[str(error)]
    )
    detail = any_pb2.Any()
    detail.Pack(failed)
    code, _name = grpc.StatusCode.UNKNOWN.value
    status = status_pb2.Status(code=code, message=str(error), details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    _abort(context, str(error))


def _abort(context: grpc.ServicerContext, text: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, text)
    raise AssertionError("abort raises")


def _token(urn: str) -> str:
    """Return the type of the resource itself: the last of the types in its URN."""
    return urn.split("::")[2].rpartition("$")[2]


def _known(kind: Kind[Any], seen: Properties | None) -> Properties | None:
    """Return what a kind read, after a check: the double may not make up outputs, either."""
    made_up = set(seen or ()) - resource_schema(kind.token).outputs
    if made_up:
        raise CloudError(f"the SDK knows no such output of {kind.token}: {', '.join(sorted(made_up))}")
    return seen


def _without_name(kind: Kind[Any], inputs: Properties) -> Properties:
    """Treat a name that the provider would make as given."""
    name = kind.rules.autoname
    return inputs if name is None or name in inputs else inputs | {name: UNKNOWN}


def _decoded(value: Any) -> Any:
    """Return a provider setting as it was written: the SDK sends lists and mappings as JSON text."""
    if isinstance(value, str) and value != UNKNOWN:
        try:
            decoded = json.loads(value)
        except ValueError:
            return value
        return decoded if isinstance(decoded, list | dict | bool) else value
    return value


def _diff_response(found: list[Change], delete_first: bool) -> Any:
    replaces = [each.path for each in found if each.replaces]
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=replaces,
        diffs=sorted({each.path.split(".")[0].split("[")[0] for each in found}),
        hasDetailedDiff=True,
        detailedDiff={
            each.path: provider_pb2.PropertyDiff(kind=KIND_OF_CHANGE[each.how, each.replaces], inputDiff=True)
            for each in found
        },
        deleteBeforeReplace=bool(replaces) and delete_first,
    )
