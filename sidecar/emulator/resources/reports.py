"""Reports, of both generations: asked for, made in a moment, and then downloaded as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import pages
from sidecar.emulator.engine.kinds import TRANSACTIONS, Kind, Transition, are_texts, fields
from sidecar.emulator.engine.routes import PAGES, Emulated, creates, does, lists, views
from sidecar.emulator.messages import EmulatedResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource

_CSV: Final = b"text/csv; charset=utf-8"
_READY: Final = "generate"
_COLUMNS: Final = ("Id", "CreationDate", "Status", "Type")
#: What a report is about, by its type; by default transactions.
_SUBJECTS: Final = {
    "WALLETS": "Wallet",
    "ECHO_INTENT": "Intent",
    "ECHO_SPLIT": "Split",
    "ECHO_SETTLEMENT": "Settlement",
}
_WORKING: Final = frozenset({"PENDING"})


def _date(client: ClientState, resource: Resource, at: int) -> None:
    del client
    resource["ReportDate"] = at


REPORT: Final = Kind(
    name="Report",
    collection="Report",
    prefix="report_m_",
    template=fields(
        *("ReportDate", "ReportType", "DownloadURL", "CallbackURL", "Sort", "Filters", "ResultCode", "ResultMessage"),
        DownloadFormat="CSV",
        Preview=False,
        Columns=_COLUMNS,
        Status="PENDING",
    ),
    read_only=frozenset({"ReportDate", "ReportType", "DownloadURL", "Status", "ResultCode", "ResultMessage"}),
    checks={"Columns": are_texts},
    transitions=(Transition(name=_READY, source=_WORKING, target="READY_FOR_DOWNLOAD", change=_date),),
)

REPORT_V2: Final = Kind(
    name="ReportV2",
    collection="ReportV2",
    prefix="report_",
    template=fields(
        *(
            "ReportDate",
            "ReportType",
            "DownloadURL",
            "Sort",
            "AfterDate",
            "BeforeDate",
            "Filters",
            "ResultCode",
            "ResultMessage",
        ),
        DownloadFormat="CSV",
        Columns=_COLUMNS,
        Status="PENDING",
    ),
    read_only=frozenset({"ReportDate", "DownloadURL", "Status", "ResultCode", "ResultMessage"}),
    required=("ReportType", "AfterDate", "BeforeDate"),
    checks={"Columns": are_texts},
    transitions=(Transition(name=_READY, source=_WORKING, target="GENERATED", change=_date),),
)


def complete(call: Call, resource: Resource) -> None:
    """Be ready when it is read for the first time, at an address of the emulator's own."""
    resource["ReportType"] = str(resource["ReportType"]).upper()
    resource["DownloadURL"] = call.page(f"reports/{resource['Id']}.csv")
    resource.due = _READY


def complete_v2(call: Call, resource: Resource) -> None:
    """Tell the columns as the second generation does: with whether they are there by default."""
    resource["Columns"] = [{"Name": name, "IsDefault": name in _COLUMNS} for name in resource["Columns"]]
    complete(call, resource)


def download(call: Call) -> EmulatedResponse:
    """Send the file: what there is now of the report's subject, with the columns that were asked for."""
    identifier = call.parameters["File"].removesuffix(".csv")
    report = call.client.find("Report", identifier) or call.client.find("ReportV2", identifier)
    if report is None:
        return pages.not_found()
    columns = [column["Name"] if isinstance(column, dict) else str(column) for column in report["Columns"]]
    subject = call.client.collection(_SUBJECTS.get(report["ReportType"], TRANSACTIONS))
    return EmulatedResponse(200, _table(columns, subject.values()), _CSV)


def _table(columns: list[str], items: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(item, column) for column in columns] for item in items)
    return text.getvalue().encode()


def _cell(item: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column; ``DebitedFundsAmount`` is the ``Amount`` in ``DebitedFunds``."""
    if column in item:
        return item[column]
    for part in ("Amount", "Currency"):
        money = item.get(column.removesuffix(part))
        if column.endswith(part) and isinstance(money, dict):
            return money.get(part)
    return None


EMULATED: Final = Emulated(
    scope="Client.Reports",
    routes=(
        creates("reports/transactions", REPORT, complete, fixed={"ReportType": "TRANSACTIONS"}),
        creates("reports/wallets", REPORT, complete, fixed={"ReportType": "WALLETS"}),
        lists("reports", REPORT),
        views("reports/{Id}", REPORT),
        creates("reporting/reports", REPORT_V2, complete_v2),
        lists("reporting/reports", REPORT_V2),
        views("reporting/reports/{Id}", REPORT_V2),
        does("GET", "reports/{File}", download, version=PAGES),
    ),
)
