"""Pages of documents: taken in base64, kept by their size alone, and consulted at URLs of the emulator's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import pages
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import PAGES, Emulated, does
from sidecar.emulator.messages import EmulatedResponse, json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

#: The alphabet of RFC 4648 section 4, in lines of whatever length. Without steps back: it takes time in proportion.
_BASE64: Final = re.compile(r"\s*+(?:[A-Za-z0-9+/]++\s*+)++={0,2}\s*+")
#: How long a page can be consulted, in seconds.
_CONSULTED_FOR: Final = 600

DOCUMENT_PAGE: Final = Kind(
    name="DocumentPage", collection="DocumentPage", prefix="page_m_", template=fields("DocumentId", Size=0)
)


def add(call: Call, document: Resource) -> EmulatedResponse:
    """Take a page of a document that is not submitted yet."""
    file = checked(call, call.body().get("File"))
    if document["Status"] != "CREATED":
        raise call.incorrect("Status", "The document is not in the status CREATED.")
    page = acts.build(DOCUMENT_PAGE, call.client, call.at)
    page.update(DocumentId=document["Id"], Size=len(file))
    acts.keep(call.client, page)
    return EmulatedResponse(204)


def checked(call: Call, file: Any) -> str:
    """Return a page in base64; raises RefusalError if it is empty or something else."""
    if not isinstance(file, str) or not file:
        raise call.incorrect("File", "The File field is required.")
    if not _BASE64.fullmatch(file):
        raise call.incorrect("File", "The File field must be encoded in base64.")
    return file


def consult(call: Call, document: Resource) -> EmulatedResponse:
    """Tell where each page of a document can be looked at, and until when."""
    of_document = [
        page for page in call.client.collection("DocumentPage").values() if page["DocumentId"] == document["Id"]
    ]
    urls = [call.page(f"document-pages/{page['Id']}") for page in of_document]
    return json_response(200, [{"Url": url, "ExpirationDate": call.at + _CONSULTED_FOR} for url in urls])


def show(call: Call) -> EmulatedResponse:
    """Show what is known of a page."""
    page = call.client.find("DocumentPage", call.parameters["Page"])
    if page is None:
        return pages.not_found()
    return pages.page("Page of a document", f"{page['Size']} characters of base64 for {page['DocumentId']}.")


EMULATED: Final = Emulated(routes=(does("GET", "document-pages/{Page}", show, version=PAGES),))
