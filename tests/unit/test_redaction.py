"""Texts that are shown hold nothing that opens doors, and lose nothing else."""

import io
import json
import logging

import pytest

from pipeline import logs
from pipeline.config import Config, to_yaml
from pipeline.errors import InputError, SampleError
from pipeline.runs import Summary
from pipeline.safe_text.redaction import redact, redacted
from pipeline.storage import without_query

SECRET = "S3CRET/with+signs%2B=="


@pytest.mark.parametrize(
    "text",
    [
        "https://user:{}@host/a.tar",
        "https://user:{}@host:8080/a{{000..003}}.tar?x=1",
        "https://{}@host/a.tar".replace("{}", "S3CRET-alone"),
        "s3://AKIA:{}@bucket/a.tar",
        "s3://bucket/a.tar?region=eu&access_key=AK&secret_key={}",
        "https://b.s3.amazonaws.com/a?X-Amz-Algorithm=x&X-Amz-Credential=S3CRET&X-Amz-Signature={}",
        "https://acc.blob.core.windows.net/c/a.tar?sv=2024&sp=r&sig={}",
        "https://storage.googleapis.com/b/a?GoogleAccessId=x&Signature={}&Expires=1",
        "https://host/a.tar?anything=S3CRET",
        "https://host/a.tar?S3CRET",
        "https://host/a.tar#access_token={}",
        "403, message='Forbidden', url='http://u:{}@host/a.tar?sig={}&b=2'",
        "zip://x::https://u:{}@host/a.zip",
        "AccountName=x;AccountKey={};EndpointSuffix=core",
        "Authorization: Bearer {}",
        "{{'Authorization': 'Basic {}'}}",
        '{{"aws_secret_access_key": "{}"}}',
        "aws_session_token = {}",
        "password: {}",
        "HF_TOKEN={}",
        "the request was signed by AKIAIOSFODNN7S3CRETX".replace("7S3CRETX", "7EXAMPLE"),
    ],
)
def test_what_opens_doors_is_left_out(text: str) -> None:
    shown = redact(text.format(SECRET, SECRET) if "{}" in text else text)
    assert "S3CRET" not in shown
    assert "AKIAIOSFODNN7EXAMPLE" not in shown
    assert "***" in shown
    assert redact(shown) == shown, "twice changes nothing"


@pytest.mark.parametrize(
    "text",
    [
        "/data/a b/x=1/shard-{000..003}.tar",
        "file:///data/a.tar",
        "s3://bucket/shard-???.tar",
        "s3://bucket/date=2026-11-21/a.tar",
        "s3://bucket/date=2026-1?/part=0?/a.tar",
        "https://host:8080/a@v1/b.tar",
        "hf://datasets/name/set@main/a.tar",
        "abfs://container@account.dfs.core.windows.net/a.tar",
        "s3://bucket/a.tar?region=eu-west-1",
        "the image cannot be decoded | shard=a.tar key=s0001 field=png | look at it",
        "max_tokens: 32\nlabel: cls\nkey: id\ntoken_count=512",
        "modalities.text.max_tokens=16 tokenizer: bpe",
    ],
)
def test_all_else_stays(text: str) -> None:
    assert redact(text) == text


def test_the_environment_s_secrets_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcDEF123/+x")
    monkeypatch.setenv("MY_DB_PASSWORD", "correct horse")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token-file")
    monkeypatch.setenv("API_KEY", "short")
    text = "abcDEF123/+x and correct horse, in /var/run/token-file, short"
    assert redact(text) == "*** and ***, in /var/run/token-file, short"


def test_locations_are_shown_without() -> None:
    assert without_query("https://u:p@host/a.tar?sig=x") == "https://***@host/a.tar"
    assert without_query("s3://k:p@bucket/a-?.tar") == "s3://***@bucket/a-?.tar"
    assert without_query("s3://bucket/token=abcd1/a.tar") == "s3://bucket/token=abcd1/a.tar"
    assert redacted({"a": ["https://u:p@h/x", 1, None]}) == {"a": ["https://***@h/x", 1, None]}


def test_errors_logs_summaries_and_configurations_are_shown_without() -> None:
    url = f"https://user:{SECRET}@host/a.tar?X-Amz-Signature={SECRET}"
    error = InputError(f"403 for {url}", where=url, fix=f"look at {url}")
    quarantined = SampleError(f"not read: {url}", reason="unreadable", where=url)
    config = Config.model_validate(
        {"run": "r", "input": {"train": [url]}, "modalities": {"text": {"fields": ["txt"]}}}
    )
    summary = Summary("infer", outputs={"embeddings": url})
    shown = [str(error), repr(error), str(quarantined), *vars(error).values()]
    shown += [to_yaml(config), summary.to_json()]
    assert not any("S3CRET" in str(text) for text in shown)
    assert json.loads(summary.to_json())["outputs"] == {
        "embeddings": "https://***@host/a.tar?X-Amz-Signature=***"
    }
    assert "host/a.tar" in to_yaml(config)


def test_a_library_s_log_and_traceback_are_shown_without() -> None:
    before = logging.getLogRecordFactory()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    library = logging.getLogger("some.library")
    library.addHandler(handler)
    try:
        logs.set_up()
        library.warning("asked for %s", f"https://u:{SECRET}@host/x")
        try:
            raise ValueError(f"https://host/x?sig={SECRET}")
        except ValueError:
            library.exception("failed")
    finally:
        library.removeHandler(handler)
        logging.setLogRecordFactory(before)
    assert "host/x" in stream.getvalue()
    assert "Traceback" in stream.getvalue()
    assert "S3CRET" not in stream.getvalue()
