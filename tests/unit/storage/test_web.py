"""Shards on web servers: read in ranges, over https too, and through connections that break."""

import datetime
import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tones import make_samples, write_tar
from support.web_server import WebFolder, serve

from pipeline import storage
from pipeline.errors import ConfigError, InputError
from pipeline.sample import Sample
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part
from pipeline.storage import retry, source

ROOT = Path(__file__).parents[3]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebFolder]:
    monkeypatch.setattr(retry, "BACKOFF", retry.Backoff(attempts=3, first_seconds=0))
    folder = tmp_path / "web"
    for index in range(3):
        write_tar(folder / f"data/x-{index:06d}.tar", make_samples(20, seed=index))
    with serve(folder) as server:
        yield server


def read(patterns: str | list[str], part_bytes: int = 32 << 20) -> list[object]:
    parts = plan(expand(patterns), part_bytes)
    return [
        (item.shard, item.key, {name: bytes(field.data) for name, field in item.fields.items()})
        for part in parts
        for item in read_part(part)
        if isinstance(item, Sample)
    ]


def test_braces_and_plain_addresses_give_what_the_files_give(web: WebFolder) -> None:
    local = read(f"{web.folder}/data/x-{{000000..000002}}.tar")
    assert len(local) == 60
    assert read(f"{web.url}/data/x-{{000000..000002}}.tar") == local
    assert read([f"{web.url}/data/x-00000{i}.tar" for i in range(3)]) == local
    assert read(f"{web.url}/data/x-{{000000..000002}}.tar", 10_000) == local  # in parts


def test_a_query_is_sent_and_shown_nowhere(web: WebFolder) -> None:
    [shard] = expand(f"{web.url}/data/x-000001.tar?signature=secret")
    assert shard.name == "x-000001.tar"
    assert "secret" in shard.url
    assert len(read(f"{web.url}/data/x-000001.tar?signature=secret")) == 20
    with pytest.raises(ConfigError) as error:
        expand(f"{web.url}/data/none.tar?signature=secret")
    assert "secret" not in str(error.value)


def test_what_a_web_server_cannot_do_is_said(web: WebFolder) -> None:
    with pytest.raises(ConfigError, match="does not say which files it has"):
        expand(f"{web.url}/data/*.tar")
    with pytest.raises(ConfigError, match=r"answers 404.*/data/gone.tar \| check the address"):
        expand(f"{web.url}/data/gone.tar?signature=secret")
    with pytest.raises(ConfigError, match="404, not found, for 4 of the 4 shards"):
        expand(f"{web.url}/data/y-{{000000..000003}}.tar")
    with pytest.raises(ConfigError, match="404, not found, for 1 of the 4 shards") as error:
        expand(f"{web.url}/data/x-{{000000..000003}}.tar")
    assert "x-000003.tar" in error.value.where
    with pytest.raises(ConfigError, match="nothing can be written to http://"):
        storage.write_bytes(f"{web.url}/data/y.tar", b"x")
    assert storage.exists(f"{web.url}/data/x-000000.tar")
    assert not storage.exists(f"{web.url}/data/gone.tar")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(f"{web.url}/gone.json")


def test_connections_that_break_midway_lose_and_double_nothing(
    web: WebFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "WINDOW_BYTES", 8192)
    local = read(f"{web.folder}/data/x-000000.tar")
    web.requests.clear()
    assert read(f"{web.url}/data/x-000000.tar") == local
    count = len(web.requests)
    assert count > 3
    for number in range(count):
        web.requests.clear()
        web.broken, web.statuses = {number}, {}
        assert read(f"{web.url}/data/x-000000.tar") == local
        web.requests.clear()
        web.broken, web.statuses = set(), {number: 503}
        assert read(f"{web.url}/data/x-000000.tar") == local


def test_a_server_that_stays_broken_is_an_error_and_not_bad_data(web: WebFolder) -> None:
    [part] = plan(expand(f"{web.url}/data/x-000000.tar"))
    web.requests.clear()
    web.broken = set(range(100))
    with pytest.raises(InputError, match="cannot be read, 3 times in a row"):
        list(read_part(part))
    web.requests.clear()
    web.broken, web.statuses = set(), dict.fromkeys(range(100), 403)
    with pytest.raises(InputError, match="the server answered 403"):
        list(read_part(part))
    web.statuses = {}
    (web.folder / "data/x-000000.tar").unlink()
    with pytest.raises(InputError, match="not there"):
        list(read_part(part))


def test_a_file_that_is_removed_while_it_is_read_is_an_error(
    web: WebFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "WINDOW_BYTES", 8192)
    items = read_part(plan(expand(f"{web.url}/data/x-000000.tar"))[0])
    assert isinstance(next(items), Sample)
    (web.folder / "data/x-000000.tar").unlink()
    with pytest.raises(InputError, match="removed while it was read"):
        list(items)


def test_no_server_is_an_error_that_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BACKOFF", retry.Backoff(attempts=2, first_seconds=0))
    with pytest.raises(InputError, match="cannot be looked for") as error:
        expand("http://127.0.0.1:9/x.tar")
    assert error.value.where == "http://127.0.0.1:9/x.tar"


def test_a_server_without_ranges_is_read_whole(
    web: WebFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "WINDOW_BYTES", 8192)
    local = read(f"{web.folder}/data/x-000000.tar")
    web.ranges = False
    assert read(f"{web.url}/data/x-000000.tar") == local
    web.requests.clear()
    [part] = plan(expand(f"{web.url}/data/x-000000.tar"))
    list(read_part(part))
    assert len(web.requests) < 4


def test_https(tmp_path: Path, web: WebFolder) -> None:
    """In a process of its own: which certificates are trusted is settled when aiohttp is imported."""
    certificate = make_certificate(tmp_path)
    program = (
        "import sys; from pipeline.shards.planning.plan import expand, plan;"
        "from pipeline.shards.reading.reader import read_part;"
        "print(sum(len(list(read_part(p))) for p in plan(expand(sys.argv[1]))))"
    )
    with serve(web.folder, certificate) as secure:
        assert secure.url.startswith("https://")
        run = subprocess.run(
            [sys.executable, "-c", program, f"{secure.url}/data/x-{{000000..000001}}.tar"],
            env={**os.environ, "SSL_CERT_FILE": str(certificate[0])},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.stdout.strip() == "40", run.stderr


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for this machine, and its key."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
