"""A product behind a DICOMweb archive: derived series out by STOW-RS, results found by QIDO-RS, fetched by WADO-RS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydicom import dcmread

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.kinds import Finding, Masks
from monai_smia.adapters.product.queries import Query
from monai_smia.adapters.product.sender import Sender, described

AUTHORIZATION = "MONAI_SMIA_DICOMWEB_AUTHORIZATION"  # environment variable: the header of that name
SERIES, INSTANCE, MODALITY = "0020000E", "00080018", "00080060"
RESULTS = ("SEG", "RTSTRUCT", "SR")


@dataclass(eq=False)
class DicomWeb(Sender):
    """Stores every query as a derived series in an archive, and looks for what the product has stored about it there.

    What is sent is marked, has new UIDs, and is of a research patient and study (`write_dicom_series`), so that the
    study holds nothing but the query and what was made of it. An answer is a series of that study that refers to the
    query; all else is counted and never used. Connections go to `url` alone: no proxy, no redirection. Needs the extra
    ``dicom``.

    Args:
        url: of the service, such as ``"http://127.0.0.1:8042/dicom-web"``. Where it asks for credentials, the header
            Authorization is that of the environment variable ``MONAI_SMIA_DICOMWEB_AUTHORIZATION``.
        timeout: seconds that an answer may take.
        retries: how often storing is tried again.
        per_minute: queries a minute, at most; None without a limit.
        answers: what they are: `Masks` (DICOM SEG, RTSTRUCT) or a `Finding` (SR).

    Raises:
        ValueError: if an argument is outside its range.
    """

    url: str
    timeout: float = 600.0
    retries: int = 2
    per_minute: float | None = None
    answers: Masks | Finding = field(default_factory=Masks)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url if isinstance(self.url, str) else "")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"url must be that of a DICOMweb service, http://host:port/path, got {self.url!r}.")
        if parts.username or parts.password:
            raise ValueError(f"url must hold no credentials: set the environment variable {AUTHORIZATION} instead.")
        self.prepare()
        self.poll = self._look
        self._client: Any = None
        self._study = self._series = ""
        self._seen: set[str] = set()

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its answers, for the fingerprint of records: which service it is, and how it is read."""
        return described(self, {"dicomweb": self.url})

    @property
    def told(self) -> str:
        """Its address."""
        return self.url

    def start(self) -> None:
        """Make a session."""
        if self._client is not None:
            return
        try:
            from dicomweb_client.api import DICOMwebClient
        except ImportError as error:
            raise ValueError("dicomweb-client is not installed: pip install 'monai_smia[dicom]'") from error
        import requests

        session = requests.Session()
        session.trust_env = False  # no proxy of the environment
        session.max_redirects = 0
        if os.environ.get(AUTHORIZATION):
            session.headers["Authorization"] = os.environ[AUTHORIZATION]
        self._client = DICOMwebClient(self.url, session=session)
        self._client.set_http_retry_params(retry=False)

    def close(self) -> None:
        """End the session."""
        if self._client is not None:
            self._client._session.close()
            self._client = None

    def result(self, query: Query) -> Any:
        """The object that is stored about a series; see `Sender.result`."""
        if query.series is not None:
            header = query.series.slices[0].header
            self._study, self._series, self._seen = str(header.StudyInstanceUID), query.series.uid, set()
        return super().result(query)

    def attempt(self, files: list[Path]) -> str:
        """Store files by one request; what went wrong, nothing where all were taken."""
        try:
            answer = self._client.store_instances([dcmread(file) for file in files], self._study)
        except Exception as error:  # of requests, by their own names
            return f"STOW-RS failed: {_named(error)}"
        failed = len(answer.get("FailedSOPSequence") or [])
        stored = len(answer.get("ReferencedSOPSequence") or [])
        return f"STOW-RS stored {stored} of {len(files)} images" if failed or stored != len(files) else ""

    def _look(self) -> None:
        """Take every object of the study that is new."""
        try:
            for each in self._client.search_for_series(self._study):
                if _first(each, SERIES) != self._series and _first(each, MODALITY) in RESULTS:
                    self._fetch(_first(each, SERIES))
        except Exception as error:
            raise AnswerError(f"the archive cannot be asked for results: {_named(error)}.") from error

    def _fetch(self, uid: str) -> None:
        """Take the objects of a series, each once; a series may still be growing."""
        for instance in self._client.search_for_instances(self._study, uid):
            name = _first(instance, INSTANCE)
            if name not in self._seen:
                dataset = self._client.retrieve_instance(self._study, uid, name)
                self._seen.add(name)
                self.inbox.take(dataset)


def _first(found: dict[str, Any], tag: str) -> str:
    """First value of an attribute in DICOM's JSON."""
    return str((found.get(tag, {}).get("Value") or [""])[0])


def _named(error: Exception) -> str:
    """Status of an error of HTTP, or its kind: its text may quote what was sent."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP status {status}" if status is not None else type(error).__name__
