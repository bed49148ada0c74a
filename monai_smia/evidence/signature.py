"""Signatures of a manifest: Ed25519, by the package ``cryptography`` (extra ``sign``)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

NEEDED = "signatures need the package cryptography: pip install 'monai_smia[sign]'."
KINDS = {"private": "openssl genpkey -algorithm ed25519", "public": "openssl pkey -in KEY -pubout"}


class SignatureError(ValueError):
    """A key is none, or the package that signs is not there."""


def sign(data: bytes, key: str | os.PathLike[str]) -> bytes:
    """The signature of data.

    Args:
        data: whatever is signed.
        key: PEM file of an Ed25519 private key without a passphrase, as of ``openssl genpkey -algorithm ed25519``.

    Raises:
        SignatureError: if the file holds no such key, or cryptography is not installed.
    """
    signed: bytes = _key(key, "private").sign(data)
    return signed


def is_signed_by(data: bytes, signature: bytes, key: str | os.PathLike[str]) -> bool:
    """Whether a signature of data was made with the private key that belongs to a public one.

    Args:
        data: whatever was signed.
        signature: of it.
        key: PEM file of an Ed25519 public key.

    Raises:
        SignatureError: if the file holds no such key, or cryptography is not installed.
    """
    public = _key(key, "public")
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def name_of_key(key: str | os.PathLike[str]) -> str:
    """What a public key is told by: the beginning of the SHA-256 of its bytes.

    Raises:
        SignatureError: as `is_signed_by`.
    """
    return hashlib.sha256(_key(key, "public").public_bytes_raw()).hexdigest()[:16]


def _key(path: str | os.PathLike[str], kind: str) -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SignatureError(NEEDED) from error
    wrong = f"{Path(path).name} must hold an Ed25519 {kind} key as PEM, as of {KINDS[kind]!r}"
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SignatureError(f"{wrong}: {error.strerror or error}.") from error
    try:
        found: Any = (
            serialization.load_pem_private_key(data, password=None)
            if kind == "private"
            else serialization.load_pem_public_key(data)
        )
    except (ValueError, TypeError) as error:  # TypeError: a passphrase is needed
        raise SignatureError(f"{wrong}: {error}") from error
    expected = ed25519.Ed25519PrivateKey if kind == "private" else ed25519.Ed25519PublicKey
    if not isinstance(found, expected):
        raise SignatureError(f"{wrong}, got {type(found).__name__.strip('_')}.")
    return found
