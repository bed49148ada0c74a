"""Signed evidence, with keys as OpenSSL writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from monai_smia.cli import main
from monai_smia.evidence import SignatureError, verify, write_evidence
from monai_smia.evidence.signature import sign
from monai_smia.evidence.verify import DIFFERS, EQUAL, NOT_CHECKED

from evidence.tampering import rezipped  # isort: skip
from evidence.test_verify import Made, _plain_charts, made  # noqa: F401  # isort: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of Ed25519 keys, and one that is none."""
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization", reason="extra `sign`")
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    folder = tmp_path_factory.mktemp("keys")
    pem = serialization.Encoding.PEM
    for name in ("mine", "theirs"):
        key = ed25519.Ed25519PrivateKey.generate()
        private = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / f"{name}.pem").write_bytes(key.private_bytes(*private))
        public = (pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(key.public_key().public_bytes(*public))
    other = ec.generate_private_key(ec.SECP256R1())
    (folder / "ec.pem").write_bytes(other.private_bytes(*private))
    (folder / "text.pem").write_text("a key")
    return folder


def test_signed(made: Made, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    packed = tmp_path / "evidence.zip"
    assert main(["evidence", str(made.folder), "--zip", str(packed), "--key", str(keys / "mine.pem")]) == 0
    assert ", signed: " in capsys.readouterr().out
    command = ["verify", str(packed), "--rows", "0"]
    assert main([*command, "--public_key", str(keys / "mine.pub")]) == EQUAL
    assert "Signature: by the key " in capsys.readouterr().out
    assert main([*command, "--public_key", str(keys / "theirs.pub")]) == DIFFERS
    assert "the signature is not that of the key" in capsys.readouterr().out
    assert main(command) == EQUAL
    assert "by whom, --public_key says" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["removed", "of another manifest", "by another", "of no bytes"])
def test_a_signature_that_was_changed(kind: str, made: Made, keys: Path, tmp_path: Path) -> None:  # noqa: F811
    packed, _ = write_evidence(made.folder, tmp_path / "evidence.zip", key=keys / "mine.pem")

    def change(contents: dict[str, bytes]) -> None:
        manifest = contents["manifest.json"]
        if kind == "removed":
            del contents["manifest.sig"]
        elif kind == "of another manifest":
            contents["manifest.json"] = manifest + b" "
        else:
            contents["manifest.sig"] = sign(manifest, keys / "theirs.pem") if kind == "by another" else b""

    rezipped(packed, change)
    assert verify(packed, rows=0, public_key=keys / "mine.pub").status == DIFFERS


@pytest.mark.parametrize("name", ["mine.pub", "ec.pem", "text.pem", "absent.pem"])
def test_what_is_no_private_key(name: str, made: Made, keys: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(SignatureError, match=f"{name} must hold an Ed25519 private key as PEM"):
        write_evidence(made.folder, tmp_path / "evidence.zip", key=keys / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_public_key(made: Made, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert main(["verify", str(made.folder), "--public_key", str(keys / "mine.pem")]) == NOT_CHECKED
    assert "mine.pem must hold an Ed25519 public key" in capsys.readouterr().err


def test_without_the_package(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(SignatureError, match=r"pip install 'monai_smia\[sign\]'"):
        write_evidence(made.folder, tmp_path / "evidence.zip", key="mine.pem")
