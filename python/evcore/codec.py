"""`Codec`: the backend's codec, put together.

In: a version, settings, schemas. Out: a codec whose decode, encode and check are the backend's own methods. Refused, as
ValueError with one sentence: settings that do not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, cast

from evcore import _backend
from evcore.limits import Limits
from evcore.schema import VERSIONS, Kind, actions, program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evcore.policy import Policy
    from evcore.vendor import Vendors

    _Base = _backend.Codec
else:
    _Base = object

__all__ = ["Codec", "codec_class"]

_DEFAULT_LIMITS: Final = Limits()


class _Settings(_Base):
    """What both backends' codecs get from here: the construction, and vendor schemas."""

    _backend: ClassVar[Any] = _backend
    _vendors: Vendors | None
    _vendor_settings: dict[str, Any]

    def __new__(
        cls,
        version: str,
        *,
        names: Literal["wire", "snake"] = "wire",
        lazy: bool = False,
        formats: bool = True,
        limits: Limits = _DEFAULT_LIMITS,
        policy: Policy | None = None,
        unknown_kind: Literal["spec", "answer", "ignore"] = "spec",
    ) -> Self:
        if version not in VERSIONS:
            raise ValueError(f"version must be one of {', '.join(VERSIONS)}, not {version!r}")
        if names not in ("wire", "snake"):
            raise ValueError(f"names must be 'wire' or 'snake', not {names!r}")
        if unknown_kind not in ("spec", "answer", "ignore"):
            raise ValueError(f"unknown_kind must be 'spec', 'answer' or 'ignore', not {unknown_kind!r}")
        if not isinstance(limits, Limits):
            raise ValueError(f"limits must be an evcore.Limits, not {type(limits).__name__}")
        if policy is not None and not callable(policy):
            raise ValueError(f"policy must be an evcore.Policy, not {type(policy).__name__}")
        snake_names = names == "snake"

        def load(kind: str, action: str) -> Any:
            return program(
                version, cast(Kind, kind), action, snake_names=snake_names, formats=formats, backend=cls._backend
            )

        known: dict[str, tuple[str, ...]] = {str(kind): names for kind, names in actions(version).items()}
        if version != "ocpp1.6":
            # Signed messages (OCPP-J 2.x §7): any message, in a JSON Web Signature.
            known = {kind: (*names, *(f"{name}-Signed" for name in names)) for kind, names in known.items()}
        self = super().__new__(
            cls,
            version,
            known,
            load,
            lazy=lazy,
            limits=limits,
            # 2.0.1 asks for an answer to a message type it does not know (§4.4), 2.1 no longer does; 1.6 never did.
            answer_unknown_kind=version != "ocpp1.6"
            and (unknown_kind == "answer" or (unknown_kind == "spec" and version == "ocpp2.0.1")),
            tolerate=policy,
            further=None,
        )
        self._vendor_settings = {"limits": limits, "snake_names": snake_names, "formats": formats}
        self._vendors = None
        return self

    def extend(
        self,
        vendor_id: str,
        schema: bytes | str | Mapping[str, Any],
        message_id: str | None = None,
        kind: Literal["call", "result"] = "call",
    ) -> None:
        """Judges ``DataTransfer.data`` of a vendor by a schema of yours, in this codec.

        Without `message_id` the schema is for all messages of the vendor that have none of their own. In 1.6, where
        data is a string, its text is read as JSON unless the schema's type is ``string``. `kind` ``"result"`` (2.x
        only): results whose customData names the vendor, for the result itself does not. Pointers begin with
        ``/data``.

        Raises SchemaError, ImportError (as `evcore.schema.compile`) and ValueError.
        """
        vendors = self._registry()
        vendors.add_data(vendor_id, schema, message_id, kind)
        self._ask(vendors)

    def extend_custom_data(self, vendor_id: str, schema: bytes | str | Mapping[str, Any]) -> None:
        """Judges the customData of a vendor by a schema of yours, wherever it stands in a payload, in this codec (2.x).

        The schema is that of the whole object, ``vendorId`` included. Raises as `extend`.
        """
        vendors = self._registry()
        vendors.add_custom_data(vendor_id, schema)
        self._ask(vendors)

    def _registry(self) -> Vendors:
        if self._vendors is None:
            from evcore.vendor import Vendors  # only for those who have vendor schemas

            return Vendors(self.version, backend=self._backend, **self._vendor_settings)
        return self._vendors

    def _ask(self, vendors: Vendors) -> None:
        """Has the backend ask for vendors' violations from now on; a backend is told once."""
        if self._vendors is None:
            self._vendors = self.further = vendors

    def __repr__(self) -> str:
        return f"Codec({self.version!r})"


def codec_class(backend: Any) -> type[Codec]:
    """`Codec` over one backend module or the other; tests hold them side by side."""
    return type("Codec", (_Settings, backend.Codec), {"_backend": backend, "__doc__": Codec.__doc__})


class Codec(_Settings, _backend.Codec):
    """Reads, judges and writes the frames of one OCPP version.

    - ``version``: ``ocpp1.6``, ``ocpp2.0.1`` or ``ocpp2.1``, the WebSocket subprotocol
    - ``names``: keys of payloads are ``wire`` names or ``snake`` names
    - ``lazy``: payloads are judged at once, but made on first use (the Python codec makes them at once, too)
    - ``formats``: ``date-time`` and ``uri`` are judged
    - ``limits``: what a frame may cost
    - ``policy``: which violations are let through
    - ``unknown_kind``: ``answer`` or ``ignore`` message types a 2.x version does not have; ``spec`` does as it says

    Shareable between connections, tasks and threads. Raises ValueError for settings that do not exist.
    """
