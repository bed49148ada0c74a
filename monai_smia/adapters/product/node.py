"""A product that is a DICOM node: derived series out by C-STORE, results in as DICOM SEG."""

from __future__ import annotations

import re
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage

from monai_smia.adapters.product.answers import SEGMENTATION, checked, of_seg
from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.queries import Query

LOOPBACK = "127.0.0.1"
VERIFICATION = "1.2.840.10008.1.1"  # C-ECHO
SUCCESS = 0x0000
SETTLE = 0.5  # seconds after an answer in which a second one would be noticed
LONGEST = 30.0  # seconds that the association of an answer may stay open
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
class DicomNode:
    """Sends every query to a node as a derived series of its own, and waits for the DICOM SEG that refers to it.

    What is sent is marked, has new UIDs, and is of a research patient and study (`write_dicom_series`). An answer is
    matched by the SeriesInstanceUID that it refers to; all else that arrives is counted and never used. Connections go
    to `send_to` and come from its host alone.

    Args:
        send_to: ``AE@host:port`` of the product.
        receive_as: ``AE:port`` that the product sends its results to, on this machine's loopback; ``AE@host:port`` to
            listen on another address.
        timeout: seconds that an answer may take.
        retries: how often sending is tried again.
        per_minute: queries a minute, at most; None without a limit.

    Raises:
        ValueError: if an argument is outside its range.
    """

    send_to: str
    receive_as: str
    timeout: float = 600.0
    retries: int = 2
    per_minute: float | None = None
    strays: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.node, self.own = Address.of("send_to", self.send_to), Address.of("receive_as", self.receive_as)
        for name, value in (("timeout", self.timeout), ("per_minute", self.per_minute)):
            if value is not None and (not isinstance(value, (int, float)) or not 0 < value < float("inf")):
                raise ValueError(f"{name} must be a number > 0, got {value!r}.")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(f"retries must be a whole number >= 0, got {self.retries!r}.")
        self._server: Any = None
        self._changed = threading.Condition()
        self._expected: dict[str, list[tuple[Dataset, Any]]] = {}
        self._given_up: set[str] = set()
        self._sent = 0.0

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its answers, for the fingerprint of records: which node it is."""
        return {"node": self.send_to}

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        """The label map that the node answers with.

        Raises:
            AnswerError: if it does not take the series, does not answer in time, or its answer does not fit.
        """
        return checked(of_seg(self.result(query), query), classes)

    def result(self, query: Query) -> Dataset:
        """The object that the node answers a series with.

        Raises:
            AnswerError: if it does not take the series, does not answer in time, or answers twice and differently.
        """
        if query.series is None:
            raise AnswerError("a DICOM node is asked with DICOM series, and the case is none: give folders of series.")
        self.start()
        uid = query.series.uid
        with self._changed:
            self._expected[uid], before = [], dict(self.strays)
        try:
            self._send(query)
            with self._changed:
                self._changed.wait_for(lambda: self._expected[uid], self.timeout)
            self._settle(uid)
            found = [dataset for dataset, _ in self._expected[uid]]
        finally:
            with self._changed:
                self._expected.pop(uid, None)
                self._given_up.add(uid)
        if not found:
            others = {what: count - before.get(what, 0) for what, count in self.strays.items()}
            told = ", ".join(f"{count} that {what}" for what, count in others.items() if count)
            told = f"; there came {told}" if told else ""
            raise AnswerError(f"the node did not answer within {self.timeout:g} s{told}.")
        first, *more = {str(each.SOPInstanceUID): each for each in found}.values()
        if any(each.get("PixelData") != first.get("PixelData") for each in more):
            raise AnswerError(f"the node answered {len(more) + 1} times, and differently.")
        return first

    def _settle(self, uid: str) -> None:
        """Wait until what has brought an answer is done, so that a second one is noticed."""
        until = time.monotonic() + LONGEST
        while any(each.is_established for _, each in self._expected[uid]) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(SETTLE)

    def start(self) -> None:
        """Listen for results."""
        if self._server is not None:
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
            self._note("came from another address")
            return 0xA700
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        referred = [str(each.get("SeriesInstanceUID")) for each in dataset.get("ReferencedSeriesSequence") or []]
        with self._changed:
            known = [uid for uid in referred if uid in self._expected]
            for uid in known:
                self._expected[uid].append((dataset, event.assoc))
            self._changed.notify_all()
        if not known:
            late = any(uid in self._given_up for uid in referred)
            kind = "refers to another series" if dataset.get("SOPClassUID") == SEGMENTATION else "is no DICOM SEG"
            self._note("came too late or twice" if late else kind)
        return SUCCESS

    def _note(self, what: str) -> None:
        with self._changed:
            self.strays[what] = self.strays.get(what, 0) + 1

    def _send(self, query: Query) -> None:
        if self.per_minute is not None:
            time.sleep(max(self._sent + 60 / self.per_minute - time.monotonic(), 0.0))
        self._sent = time.monotonic()
        reason = ""
        for _ in range(self.retries + 1):
            reason = self._try(sorted(query.path.iterdir()))
            if not reason:
                return
            time.sleep(0.2)
        raise AnswerError(f"the node did not take the series in {self.retries + 1} tries: {reason}.")

    def _try(self, files: list[Path]) -> str:
        """Send files in one association; what went wrong, nothing where all were taken."""
        from pynetdicom import AE

        entity = AE(ae_title=self.own.title)
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
