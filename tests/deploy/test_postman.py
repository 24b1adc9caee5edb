"""The Postman collection and environment: in Postman's format, and run by Postman's own runner against the demo."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.deploy.mangopay import Mangopay
from tests.support import node
from tests.support.sidecar import Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "postman"
COLLECTION: Final = FOLDER / "mangopay-sidecar.postman_collection.json"
ENVIRONMENT: Final = FOLDER / "mangopay-sidecar.postman_environment.json"
#: What an object of the v2.1 format may have, as far as it is used here. What it does not know Postman drops silently.
KEYS: Final = {
    "collection": {"info", "auth", "item", "variable"},
    "info": {"name", "_postman_id", "description", "schema"},
    "item": {"name", "event", "request", "response"},
    "request": {"method", "header", "url", "description", "body"},
    "url": {"raw", "host", "path", "query"},
    "event": {"listen", "script"},
    "script": {"type", "exec"},
    "body": {"mode", "raw", "options"},
}


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def requests() -> list[dict[str, Any]]:
    return [item["request"] for item in read(COLLECTION)["item"]]


def test_it_has_the_form_of_a_collection_v2_1() -> None:
    collection = read(COLLECTION)
    assert collection["info"]["schema"] == "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
    parts = [("collection", collection), ("info", collection["info"])]
    for item in collection["item"]:
        parts += [("item", item), ("request", item["request"]), ("url", item["request"]["url"])]
        parts += [("event", event) for event in item["event"]]
        parts += [("script", event["script"]) for event in item["event"]]
        parts += [("body", item["request"][key]) for key in item["request"].keys() & {"body"}]
    for kind, part in parts:
        assert part.keys() <= KEYS[kind], (kind, part)


def test_each_url_says_the_same_in_whole_and_in_parts() -> None:
    for request in requests():
        url = request["url"]
        query = "&".join(f"{each['key']}={each['value']}" for each in url.get("query", ()))
        assert url["raw"] == "/".join([*url["host"], *url["path"]]) + (f"?{query}" if query else "")


def test_it_needs_neither_credentials_nor_a_token() -> None:
    assert read(COLLECTION)["auth"] == {"type": "noauth"}
    text = COLLECTION.read_text().lower()
    assert "authorization" not in text
    assert "oauth/token" not in text
    assert [request["url"]["host"] for request in requests()] == [["{{base_url}}"]] * len(requests())


def test_every_variable_is_the_environment_s_or_the_collection_s_own() -> None:
    known = {each["key"] for each in (*read(ENVIRONMENT)["values"], *read(COLLECTION)["variable"])}
    assert set(re.findall(r"\{\{(\w+)\}\}", COLLECTION.read_text())) == known
    (base_url,) = read(ENVIRONMENT)["values"]
    assert base_url["value"] == "http://127.0.0.1:18080"


# --- run -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["demo", "run"])
def base_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "demo":
        with Command("demo", "--port", "0", "--admin-port", "0") as demo:
            yield demo.wait_for(r"^ready proxy=(\S+)")[1]
    else:
        with Mangopay(tmp_path) as mangopay:
            mend = {"environment": "sandbox", "base_url": mangopay.url}
            with Sidecar(mangopay.url, mangopay=mend, tls={"ca_file": str(mangopay.ca_file)}) as sidecar:
                yield sidecar.url


@pytest.mark.timeout(120)
def test_newman_runs_it_without_a_failure(node_tools: Path, base_url: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command: list[str | Path] = [node.NODE, node_tools / "newman" / "bin" / "newman.js", "run", COLLECTION]
    command += ["--environment", ENVIRONMENT, "--env-var", f"base_url={base_url}"]
    command += ["--reporters", "cli,json", "--reporter-json-export", report]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout
    run = read(report)["run"]
    assert run["failures"] == []
    assert run["stats"]["requests"]["total"] == len(requests())
    assert run["stats"]["assertions"]["total"] >= len(requests())
