"""Structured actions and observations: their text forms, and on a page that holds one of everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from web_session import Session

from universe2.core.errors import InvalidActionError, UsageError
from universe2.core.registry import find
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.web import actions, web_env
from universe2.envs.web.observations import STATES, TAGS, TREE_LENGTH, decode, fitted
from universe2.envs.web.page import OPTIONS, WebPage

PAGE = """<!DOCTYPE html><body style="margin:0;width:150px;font:12px sans-serif">
<button id="go" onclick="log.push('go' + (event.ctrlKey ? '+control' : ''))">Go &amp; see</button>
<input id="name" aria-label="Name" value="old">
<select id="size"><option>Small</option><option>Large one</option></select>
<label><input type="checkbox" id="yes">Agree</label>
<div id="list" style="height:40px;width:150px;overflow-y:auto"><div style="height:300px">long</div></div>
<div id="from" style="width:20px;height:20px;background:red">a</div>
<div id="to" style="position:absolute;left:100px;top:150px;width:40px;height:40px;background:blue">b</div>
<div id="cover" style="position:absolute;left:0;top:180px;width:60px;height:29px;background:#ddd">cover</div>
<button style="position:absolute;left:5px;top:185px">hidden below</button>
<p style="position:absolute;top:800px">end</p>
<button style="position:absolute;left:5px;top:500px" onclick="log.push('far')">far below</button>
<script>
const log = [];
document.getElementById("cover").style.zIndex = 2;
document.getElementById("from").onmousedown = () => log.push("take");
document.getElementById("to").onmouseup = () => log.push("drop");
const state = () => JSON.stringify(
  { log, name: name_.value, size: size.value, yes: yes.checked, scroll: list.scrollTop });
const [name_, size, yes, list] = ["name", "size", "yes", "list"].map((id) => document.getElementById(id));
</script></body>"""


def page(root: str) -> WebPage:
    return WebPage(
        root=Path(root),
        path="all.html",
        start="() => 'Try it.'",
        read="() => ({ done: true, timed_out: false, raw: 0, decayed: 0, reason: state() })",
    )


@pytest.fixture
def spec(tmp_path: Path) -> EnvSpec:
    (tmp_path / "all.html").write_text(PAGE)
    return EnvSpec(
        id="web/all-v0",
        runtime="browser",
        entry=f"{__name__}:page",
        kwargs={"root": str(tmp_path)},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )


def test_calls_become_actions() -> None:
    action = actions.parse('type(3, "red shoes")')
    assert actions.VERBS[action["verb"]] == "type"
    assert (int(action["ref"]), action["text"]) == (3, "red shoes")
    assert actions.action_space().contains(action)
    assert actions.parse("select(option='Large', ref=2)") == actions.make("select", 2, "Large")
    assert actions.from_json({"verb": "drag", "ref": 1, "to": 2}) == actions.make("drag", 1, "2")
    named = {branch["properties"]["verb"]["const"] for branch in actions.schema()["oneOf"]}
    assert named == set(actions.VERBS)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("click", "not an action"),
        ("click(__import__('os').remove('x'))", "not an action"),
        ("jump(3)", "verb must be one of"),
        ("click()", r"click\(ref\) was given nothing"),
        ("click(1, 2)", "takes 1 arguments"),
        ("click('one')", "ref must be a number"),
        ("type(1, 2)", "text must be a string"),
        ("scroll(0, 'sideways')", "direction must be one of up, down"),
        ("click(-1)", "ref must be from 0"),
        (r"type(1, 'a\x0b')", "printable ASCII"),  # no key gives it
        ("click(" + "-" * 20_000 + "1)", "not an action"),  # too deep for the parser
        ("click(" + "[" * 150 + "]" * 150 + ")", "ref must be a number"),
        ("click({[]: 1})", "not an action"),
        ("click(ref=1, ref=2)", "ref is given twice"),
        ("type(1, 'a', ref=2)", "ref is given twice"),
    ],
)
def test_bad_calls_are_explained(call: str, why: str) -> None:
    with pytest.raises(InvalidActionError, match=why) as caught:
        actions.parse(call)
    assert len(str(caught.value)) < 700


def test_a_tree_too_long_keeps_what_is_in_sight_and_says_what_it_lacks() -> None:
    lines = [f'[{n}] link "Number {n}"' + ("" if 900 <= n < 910 else " (out of sight)") for n in range(1_000)]
    short = "\n".join(lines[:100])
    assert fitted(short) == short
    told = fitted("\n".join(lines))
    *kept, last = told.split("\n")
    assert TREE_LENGTH - 40 < len(told) <= TREE_LENGTH
    assert last == f"... {1_000 - len(kept)} more elements"
    assert kept == [*lines[: len(kept) - 10], *lines[900:910]]


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(UsageError, match="the parts are elements, axtree"):
        find("web/click-test-v0").spaces(EnvConfig(options={"observe": "elements,dom"}))


@pytest.mark.browser
def test_everything_can_be_done_by_reference(spec: EnvSpec) -> None:
    options = {"observe": "elements,axtree,marks,focus,url,fields", "actions": "structured"}
    with Session(spec, **options) as session:
        obs = session.reset(0)
        space = spec.spaces(session.config).observation
        assert space.contains(obs)
        found = obs["elements"]
        count = int(found["count"])
        refs = {decode(found["text"][row]): int(found["ref"][row]) for row in range(count)}
        go = refs["Go & see"]
        row = found["ref"].tolist().index(go)
        assert TAGS[found["tag"][row]] == "button"
        assert f'[{go}] button "Go & see"' in obs["axtree"]
        assert "(out of sight)" in obs["axtree"]
        assert (obs["marks"] != obs["screen"]).any()
        assert obs["url"].endswith("/all.html")
        assert obs["focus"] == 0
        assert obs["fields"] == "{}"

        def do(call: str) -> dict[str, Any]:
            result = session.step(actions.parse(call))  # type: ignore[arg-type]
            assert space.contains(result.obs)
            told: dict[str, Any] = json.loads(result.info["reason"])
            return told | {"error": result.info.get("action_error", ""), "obs": result.obs}

        assert do(f"click({go})")["log"] == ["go"]
        assert do(f"control_click({go})")["log"] == ["go", "go+control"]
        told = do(f'type({refs["Name"]}, "New Name!")')
        assert (told["name"], told["error"]) == ("New Name!", "")
        assert told["obs"]["focus"] == refs["Name"]
        row = told["obs"]["elements"]["ref"].tolist().index(refs["Name"])
        assert decode(told["obs"]["elements"]["value"][row]) == "New Name!"
        assert told["obs"]["elements"]["state"][row].tolist() == [
            int(name in ("focused", "editable")) for name in STATES
        ]
        assert do('press("Control+a")')["error"] == ""
        assert do('press("x")')["name"] == "x"
        size = next(r for r in refs.values() if f"[{r}] combobox" in obs["axtree"])
        assert do(f'select({size}, "Large one")')["size"] == "Large one"
        assert do(f"click({refs['Agree']})")["yes"]
        assert do(f'scroll({refs["long"]}, "down")')["scroll"] == 50
        assert do(f"drag({refs['a']}, {refs['b']})")["log"][-2:] == ["take", "drop"]
        far = next(
            int(line.split("]")[0].split("[")[1]) for line in obs["axtree"].split("\n") if "far" in line
        )
        assert do(f"click({far})")["log"][-1] == "far"

        assert "no element 999" in do("click(999)")["error"]
        assert "no option" in do(f'select({size}, "Huge")')["error"]
        assert "Small, Large one" in do(f'select({size}, "Huge")')["error"]
        assert "no field" in do(f'type({go}, "x")')["error"]
        assert "no drop-down" in do(f'select({go}, "x")')["error"]
        assert "is no key" not in do('press("Enter")')["error"]
        assert "there is no key" in do('press("Entre")')["error"]
        covered = next(
            int(line.split("]")[0].split("[")[1]) for line in obs["axtree"].split("\n") if "hidden" in line
        )
        session.reset(0)
        session.step(actions.parse("wait()"))  # type: ignore[arg-type]
        assert "is covered by element" in do(f"click({covered})")["error"]


@pytest.mark.browser
def test_marks_and_trees_are_the_same_in_every_run(spec: EnvSpec) -> None:
    with Session(spec, observe="elements,axtree,marks", interface="screen") as session:
        first, again = session.reset(0), session.reset(0)
        assert first["marks"].shape == (64, 64, 3)
        assert first["axtree"] == again["axtree"]
        np.testing.assert_array_equal(first["marks"], again["marks"])
        for name, column in first["elements"].items():
            np.testing.assert_array_equal(column, again["elements"][name])


@pytest.mark.browser
@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("choose-date", {"month", "day", "year"}),  # by the package's rules for instructions
        ("email-inbox-nl-turk", None),  # told by the page; which ones depends on the seed
        ("ascending-numbers", set()),  # there is nothing to name
    ],
)
def test_the_fields_of_an_instruction(task: str, names: set[str] | None) -> None:
    with Session(f"web/{task}-v0", observe="fields") as session:
        obs = session.reset(0)
        assert session.spec.spaces(session.config).observation.contains(obs)
        fields = json.loads(obs["fields"])
        assert set(fields) == names if names is not None else fields
        assert all(value in session.instruction for value in fields.values() if names)
        result = session.step(np.zeros(5, np.int64))
        assert result.obs["fields"] == obs["fields"]


SHADOW = """<!DOCTYPE html><body style="margin:0;width:150px">
<my-form>Send it</my-form><p id="told">nothing</p>
<script>
customElements.define("my-form", class extends HTMLElement {
  connectedCallback() {
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = "<input aria-label='Inside'><button><slot></slot></button>";
    root.querySelector("button").onclick = () => { told.textContent = root.querySelector("input").value; };
  }
});
</script></body>"""


@pytest.mark.browser
def test_what_is_in_a_shadow_root_is_seen_and_worked(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(SHADOW)
    spec = web_env("web/shadow-v0", tmp_path, instruction="Write.", done="told.textContent === 'yes'")
    with Session(spec, observe="axtree,focus", actions="structured") as session:
        tree = session.reset(0)["axtree"]
        named = [line for line in tree.split("\n") if '"' in line]
        refs = {line.split('"')[1]: int(line.split("]")[0].strip()[1:]) for line in named}
        assert 'textbox "Inside"' in tree
        assert 'button "Send it"' in tree
        typed = session.step(actions.make("type", refs["Inside"], "yes"))  # type: ignore[arg-type]
        assert "action_error" not in typed.info
        assert typed.obs["focus"] == refs["Inside"]
        sent = session.step(actions.make("click", refs["Send it"]))  # type: ignore[arg-type]
        assert "action_error" not in sent.info
        assert sent.terminated


FIELDS = {
    "date": ("2024-01-31", "31/01/2024"),
    "time": ("10:30", "10:30 AM"),
    "month": ("2024-02", "February"),
    "week": ("2024-W07", "7"),
    "datetime-local": ("2024-01-31T10:30", "now"),
    "range": ("70", "700"),
    "color": ("#ff8000", "orange"),
    "number": ("12.5", "twelve"),
}
EVENTS = """<script>
const events = [];
for (const kind of ["input", "change"])
  document.addEventListener(kind, (event) => events.push(kind + " " + event.target.value));
</script>"""


def fields_page(root: str) -> WebPage:
    return WebPage(
        root=Path(root),
        path="fields.html",
        start="() => 'Fill in.'",
        read="() => ({ done: true, timed_out: false, raw: 0, decayed: 0, reason: events.join('; ') })",
    )


@pytest.mark.browser
def test_fields_that_no_keys_fill_take_their_value(tmp_path: Path) -> None:
    fields = "".join(f'<input type="{kind}" aria-label="{kind}" step="any">' for kind in FIELDS)
    locked = '<input type="date" aria-label="locked" readonly>'
    body = f"<!DOCTYPE html><body style='width:150px'>{EVENTS}{fields}{locked}"
    (tmp_path / "fields.html").write_text(body)
    spec = EnvSpec(
        id="web/fields-v0",
        runtime="browser",
        entry=f"{__name__}:fields_page",
        kwargs={"root": str(tmp_path)},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )
    with Session(spec, observe="axtree", actions="structured") as session:
        lines = session.reset(0)["axtree"].split("\n")
        refs = {line.split('"')[1]: int(line.split("]")[0].strip()[1:]) for line in lines}

        def fill(kind: str, text: str) -> tuple[str, str]:
            result = session.step(actions.make("type", refs[kind], text))  # type: ignore[arg-type]
            return result.info["reason"], result.info.get("action_error", "")

        for kind, (good, bad) in FIELDS.items():
            before, error = fill(kind, good)
            assert not error
            told = session.last.obs["axtree"] if session.last else ""
            assert f'value="{good}"' in told
            assert before.endswith(f"change {good}" if kind != "number" else f"input {good}")
            after, error = fill(kind, bad)
            assert f'({kind}) doesn\'t take "{bad}"' in error
            assert kind == "number" or after == before
        assert "element 9 (date) is disabled or read-only" in fill("locked", "2024-01-31")[1]
