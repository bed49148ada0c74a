"""A DICOMweb service on the loopback address: what is stored is kept, and answered by a function of the test."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import pydicom
from pydicom import Dataset

BOUNDARY = "part"


class DicomWebServer:
    """STOW-RS, QIDO-RS of series and instances, WADO-RS of instances.

    Args:
        make: from the images that one request stores to the objects that are then found in their study.
        refuse: answer every STOW with a status of its own.
    """

    def __init__(self) -> None:
        self.stored: list[Dataset] = []
        self.made: list[Dataset] = []
        self.make: Callable[[list[Any]], list[Any]] = lambda stored: []
        self.refuse = False
        own = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                own._stow(self)

            def do_GET(self) -> None:
                own._get(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/dicom-web"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, kind: str = "", body: bytes = b"") -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind or "text/plain")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _stow(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        if self.refuse:
            return self._send(handler, 403)
        found = re.search(r'boundary="?([^";]+)', handler.headers["Content-Type"])
        assert found is not None
        parts = [part for part in body.split(b"--" + found[1].encode()) if b"\r\n\r\n" in part]
        files = [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in parts]
        stored = [pydicom.dcmread(BytesIO(content)) for content in files]
        self.stored += stored
        answer = Dataset()
        answer.ReferencedSOPSequence = [Dataset() for _ in stored]
        for item, ds in zip(answer.ReferencedSOPSequence, stored, strict=True):
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
        self._send(handler, 200, "application/dicom+json", answer.to_json().encode())
        self.made += self.make(stored)
        return None

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        words = handler.path.split("?")[0].strip("/").split("/")[1:]
        uids = dict(zip(words[::2], words[1::2], strict=False))
        there = [
            ds
            for ds in [*self.stored, *self.made]
            if ds.StudyInstanceUID == uids["studies"]
            and uids.get("series") in (None, ds.SeriesInstanceUID)
            and uids.get("instances") in (None, ds.SOPInstanceUID)
        ]
        if words[-2] == "instances":
            out = BytesIO()
            there[0].save_as(out, enforce_file_format=True)
            head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            body = head + out.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()
            return self._send(handler, 200, f'multipart/related; type="application/dicom"; boundary={BOUNDARY}', body)
        names = ("StudyInstanceUID", "SeriesInstanceUID", "Modality")
        if words[-1] == "instances":
            names += ("SOPInstanceUID", "SOPClassUID")
        found = {json.dumps(_only(ds, names), sort_keys=True) for ds in there}
        if not found:
            return self._send(handler, 204)
        return self._send(handler, 200, "application/dicom+json", f"[{','.join(sorted(found))}]".encode())


def _only(ds: Dataset, names: tuple[str, ...]) -> dict[str, Any]:
    part = Dataset()
    for name in names:
        setattr(part, name, ds[name].value)
    return part.to_json_dict()
