"""The Grafana dashboard: a file that Grafana takes as it is, and that an operator can read at three in the morning."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any, Final

from tests.deploy.monitoring import DASHBOARD, PANELS, ROOT, ROWS, VALUES, VARIABLES

#: Units by Grafana's own names.
UNITS: Final = {"none", "short", "s", "bytes", "percentunit", "reqps", "cpm", "suffix:down", "suffix:days"}
#: Grafana's named colours, shades included.
COLOURS: Final = {"text", "transparent", "purple", "yellow"} | {
    shade + colour for colour in ("green", "red", "orange", "blue") for shade in ("", "dark-", "light-")
}
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
#: From the first row, in the words of the question that it answers.
QUESTIONS: Final = ["Sidecar", "Token", "Key", "Lock", "Rate limit", "Network", "Mangopay", "Outcome unknown, 1 h"]


def found(node: Any, key: str) -> list[Any]:
    """Every value of ``key`` anywhere below ``node``."""
    if isinstance(node, list):
        return list(itertools.chain.from_iterable(found(each, key) for each in node))
    if not isinstance(node, dict):
        return []
    here = [node[key]] if key in node else []
    return here + list(itertools.chain.from_iterable(found(each, key) for each in node.values()))


def test_it_is_a_dashboard_of_a_current_grafana_that_any_instance_can_import() -> None:
    assert DASHBOARD["schemaVersion"] >= 41
    assert DASHBOARD["uid"] == "mangopay-sidecar"
    assert DASHBOARD["id"] is None, "the number is the importing instance's to give"
    assert DASHBOARD["title"]
    assert "__inputs" not in DASHBOARD


def test_every_query_goes_to_the_data_source_that_is_chosen() -> None:
    sources = [each for each in found(DASHBOARD, "datasource") if each.get("uid") != "-- Grafana --"]
    assert len(sources) > len(PANELS)
    assert all(source == SOURCE for source in sources)


def test_variables_choose_data_source_job_and_instances() -> None:
    assert list(VARIABLES) == ["datasource", "job", "instance"]
    assert (VARIABLES["datasource"]["type"], VARIABLES["datasource"]["query"]) == ("datasource", "prometheus")
    for name in ("job", "instance"):
        variable = VARIABLES[name]
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["refresh"] == 2, "sidecars that came or went show when the time range changes"


def test_every_series_is_narrowed_to_the_chosen_sidecars() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            for name, selector in re.findall(r"(mangopay_sidecar_\w+|\bup)\{([^}]*)\}", target["expr"]):
                assert 'job=~"$job", instance=~"$instance"' in selector, name
            assert len(re.findall(r"mangopay_sidecar_\w+|\bup\b", target["expr"])) == target["expr"].count("$job")


def test_a_rate_that_is_drawn_follows_the_scrape_interval() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            if target.get("range"):
                assert set(re.findall(r"\[(.*?)\]", target["expr"])) <= {"$__rate_interval", "1d", "1h"}


def test_ids_are_unique() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in PANELS:
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))


def test_a_panel_says_what_it_shows() -> None:
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith(".")
        units = found(panel["fieldConfig"], "unit")
        assert units
        assert set(found(panel, "unit")) <= UNITS
        assert panel["targets"]
        assert all(target["expr"].strip() for target in panel["targets"])


def test_nothing_overlaps_or_sticks_out() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert cells
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_panels_beside_each_other_are_aligned_and_fill_the_width() -> None:
    lines: dict[int, list[dict[str, int]]] = {}
    for panel in DASHBOARD["panels"]:
        lines.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])
    bottom = 0
    for y, line in sorted(lines.items()):
        assert y == bottom, "a gap"
        assert len({at["h"] for at in line}) == 1
        assert sum(at["w"] for at in line) == 24
        bottom = y + line[0]["h"]
    assert all(row["collapsed"] is False for row in ROWS)


def test_the_first_row_answers_the_question_at_a_glance() -> None:
    """One tile each: a word or a number on green, orange or red, whatever comes; and for nothing as well."""
    assert DASHBOARD["panels"][0]["title"].startswith("Is it the token, the key, the lock")
    tiles = PANELS[: len(QUESTIONS)]
    assert [tile["title"] for tile in tiles] == QUESTIONS
    assert len({tile["gridPos"]["y"] for tile in tiles}) == 1
    for tile in tiles:
        assert tile["type"] == "stat"
        assert tile["options"]["colorMode"] == "background"
        defaults = tile["fieldConfig"]["defaults"]
        assert defaults["color"] == {"mode": "thresholds"}
        kinds = {mapping["type"] for mapping in defaults["mappings"]}
        assert "special" in kinds, f"{tile['title']} has no word for nothing"
        colours = {*found(defaults["thresholds"], "color"), *found(defaults["mappings"], "color")}
        assert colours >= {"green", "red"}, tile["title"]


def test_thresholds_ascend_from_a_base() -> None:
    for panel in PANELS:
        for thresholds in found(panel["fieldConfig"], "thresholds"):
            values = [step["value"] for step in thresholds["steps"]]
            assert values[0] is None
            assert values[1:] == sorted(set(values[1:]))


def test_colours_are_named_so_that_they_suit_light_and_dark() -> None:
    """A name is a colour of Grafana's theme."""
    fields = [panel["fieldConfig"] for panel in PANELS]
    given = found(fields, "fixedColor") + [each for each in found(fields, "color") if isinstance(each, str)]
    assert len(given) > len(PANELS)
    assert set(given) <= COLOURS


def test_what_is_drawn_twice_has_the_same_colour() -> None:
    colours: dict[str, set[str]] = {}
    for panel in PANELS:
        for override in panel["fieldConfig"]["overrides"]:
            colours.setdefault(override["matcher"]["options"], set()).update(found(override, "fixedColor"))
    assert {name for name, given in colours.items() if len(given) > 1} == set()


def test_a_colour_is_given_to_series_that_exist() -> None:
    """An override that matches no series' name does nothing, and nobody sees that."""
    for panel in PANELS:
        names = _possible_names(panel)
        for override in panel["fieldConfig"]["overrides"]:
            matcher = override["matcher"]
            if matcher["id"] == "byRegexp":
                assert any(re.search(matcher["options"], name) for name in names), matcher
            else:
                renamed = found(panel, "renameByName")
                assert matcher["options"] in {name for each in renamed for name in each.values()}


def _possible_names(panel: dict[str, Any]) -> set[str]:
    """Legends with every value that the labels concerned can have."""
    values: dict[str, set[str]] = {}
    for (_, label), each in VALUES.items():
        values.setdefault(label, set()).update(each)
    names = set()
    for target in panel["targets"]:
        legend = target.get("legendFormat", "")
        labels = [label for label in re.findall(r"\{\{(\w+)\}\}", legend) if label in values]
        for chosen in itertools.product(*(values[label] for label in labels)):
            name = legend
            for label, value in zip(labels, chosen, strict=True):
                name = name.replace(f"{{{{{label}}}}}", value)
            names.add(name)
    return names


def test_the_file_is_as_grafana_writes_it() -> None:
    """Two spaces and a final line end, so that an export from Grafana makes a small diff."""
    text = (ROOT / "deploy" / "grafana" / "mangopay-sidecar.json").read_text()
    assert text == json.dumps(DASHBOARD, indent=2, ensure_ascii=False) + "\n"
