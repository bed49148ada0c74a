"""A product that is a DICOM node: derived series out by C-STORE, results in by C-STORE or through a folder."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import CTImageStorage

from monai_smia.adapters.product.kinds import Finding, Masks
from monai_smia.adapters.product.sender import Sender, described
from monai_smia.adapters.product.watched import WatchedFolder

LOOPBACK = "127.0.0.1"
VERIFICATION = "1.2.840.10008.1.1"  # C-ECHO
SUCCESS, REFUSED = 0x0000, 0xA700
TITLE = "MONAI_SMIA"  # of this side, where it takes no results
ADDRESS = re.compile(r"(?P<title>[^@:]{1,16})(?:@(?P<host>[^@:]+))?:(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Address:
    """An application entity: title, host and port, from ``AE@host:port``, or ``AE:port`` for this machine alone.

    Raises:
        ValueError: if the text is none.

    Example:
        >>> Address.of("send_to", "AI@10.0.0.5:104"), Address.of("receive_as", "TESTER:11113").host
        (Address(title='AI', host='10.0.0.5', port=104), '127.0.0.1')
    """

    title: str
    host: str
    port: int

    @classmethod
    def of(cls, name: str, text: str) -> Address:
        """From the text of an argument."""
        found = ADDRESS.fullmatch(text) if isinstance(text, str) else None
        if found is None or not 0 < int(found["port"]) < 65536:
            raise ValueError(f"{name} must be AE@host:port, or AE:port for this machine, got {text!r}.")
        return cls(found["title"].strip(), found["host"] or LOOPBACK, int(found["port"]))


@dataclass(eq=False)
class DicomNode(Sender):
    """Sends every query to a node as a derived series of its own, and waits for the object that refers to it.

    What is sent is marked, has new UIDs, and is of a research patient and study (`write_dicom_series`). An answer is
    matched by the SeriesInstanceUID that it refers to; all else that arrives is counted and never used. Connections go
    to `send_to` and come from its host alone.

    Args:
        send_to: ``AE@host:port`` of the product.
        receive_as: ``AE:port`` that the product sends its results to, on this machine's loopback; ``AE@host:port`` to
            listen on another address; None with `watch`.
        timeout: seconds that an answer may take.
        retries: how often sending is tried again.
        per_minute: queries a minute, at most; None without a limit.
        watch: folder that results are written into, in the place of `receive_as`.
        answers: what they are: `Masks` (DICOM SEG, RTSTRUCT) or a `Finding` (SR).

    Raises:
        ValueError: if an argument is outside its range.
    """

    send_to: str
    receive_as: str | None = None
    timeout: float = 600.0
    retries: int = 2
    per_minute: float | None = None
    watch: Path | str | None = None
    answers: Masks | Finding = field(default_factory=Masks)

    def __post_init__(self) -> None:
        self.node = Address.of("send_to", self.send_to)
        if (self.receive_as is None) == (self.watch is None):
            raise ValueError(
                "results come in by receive_as (AE:port) or through a folder (watch): give one of the two."
            )
        self.own = None if self.receive_as is None else Address.of("receive_as", self.receive_as)
        self.prepare()
        self._server: Any = None
        if self.watch is not None:
            self.poll = WatchedFolder(Path(self.watch), self.inbox).poll

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its answers, for the fingerprint of records: which node it is, and how it is read."""
        return described(self, {"node": self.send_to})

    @property
    def told(self) -> str:
        """Its address."""
        return self.send_to

    def start(self) -> None:
        """Listen for results."""
        if self._server is not None or self.own is None:
            return
        from pynetdicom import AE, StoragePresentationContexts, evt

        entity = AE(ae_title=self.own.title)
        entity.supported_contexts = StoragePresentationContexts
        entity.add_supported_context(VERIFICATION)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._stored)]
        try:
            self._server = entity.start_server((self.own.host, self.own.port), block=False, evt_handlers=handlers)
        except OSError as error:
            why = error.strerror or error
            raise ValueError(f"receive_as {self.receive_as!r} cannot be listened on: {why}.") from error

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _stored(self, event: Any) -> int:
        """Take what arrives: an answer that is waited for, or a stray."""
        if event.assoc.requestor.address != socket.gethostbyname(self.node.host):
            self.inbox.note("came from another address")
            return REFUSED
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.inbox.take(dataset, lambda: bool(event.assoc.is_established))
        return SUCCESS

    def attempt(self, files: list[Path]) -> str:
        """Send files in one association; what went wrong, nothing where all were taken."""
        from pynetdicom import AE

        entity = AE(ae_title=TITLE if self.own is None else self.own.title)
        entity.add_requested_context(CTImageStorage)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = min(self.timeout, 60.0)
        association = entity.associate(self.node.host, self.node.port, ae_title=self.node.title)
        if not association.is_established:
            return f"no association with {self.node.title}"
        try:
            for file in files:
                status = association.send_c_store(dcmread(file))
                if not status or status.Status != SUCCESS:
                    return f"C-STORE failed with status 0x{status.Status:04x}" if status else "the connection was lost"
        except (RuntimeError, ValueError) as error:
            return str(error)
        finally:
            association.release()
        return ""
