import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from masksr.documents import LARGEST_YAML, check_dvc_reads_the_same, parse_yaml, read_json, read_yaml
from masksr.errors import MasksrError

WHOLE = st.integers(-(2**63) + 1, 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"))
PLAIN = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


@given(PLAIN)
def test_what_yaml_writes_of_plain_values_is_read_back(content):
    assert parse_yaml(yaml.safe_dump(content), "x") == content


@given(TEXT | st.text("ab01 \n:-[]{},&*!|>'\"#%?<~.", max_size=60))
def test_any_text_is_plain_values_or_one_clear_error(text):
    try:
        content = parse_yaml(text, "x.yaml")
    except MasksrError as error:
        assert str(error).startswith("x.yaml: ") and "\n" not in str(error)
    else:
        json.dumps(content)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text, says",
    [
        (LAUGHS, r"\*a stands for a list"),
        ("a: &a {b: *a}", r"\*a stands for"),
        ("a: {x: 1}\nb: {<<: {x: 1}}", "<< is not read"),
        ("k: 1\nb: 2\nk: 3", "'k' is there twice"),
        ("a: {b: 1, 'b': 2}", "'b' is there twice"),
        ("[" * 100_000, "nested too deeply"),
        ("- " * 1000, "nested too deeply"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 0x" + "f" * 5000, "more than 64 bits"),
        ("a: 2026-01-01", "is a date"),
        ("a: 2026-99-01", "not valid YAML"),
        ("a: !!binary aGk=", "is a bytes"),
        ("a: !!set {x}", "is a set"),
        ("a: !!python/object/apply:os.system [id]", "not valid YAML"),
        ("1: 2", "a key is a int"),
        ('a: "\\ud800"', "half a character"),
        ("--- 1\n--- 2", "single document"),
        ("a: \x1b[2J", "not valid YAML"),
    ],
)
def test_what_is_not_plain_is_refused(text, says):
    with pytest.raises(MasksrError, match=says) as caught:
        parse_yaml(text, "x")
    assert len(str(caught.value)) < 700


def test_an_alias_of_a_text_is_read():
    assert parse_yaml("a: &a >-\n  long\n  words\nb: *a", "x") == {"a": "long words", "b": "long words"}


def test_files_are_bounded_and_errors_name_them(tmp_path):
    path = tmp_path / "x.yaml"
    with pytest.raises(MasksrError, match=r"x\.yaml: cannot be read \(No such file"):
        read_yaml(path)
    path.write_bytes(b"a: \xff")
    with pytest.raises(MasksrError, match=r"x\.yaml: cannot be read"):
        read_yaml(path)
    path.write_text("a: " + "x" * LARGEST_YAML)
    with pytest.raises(MasksrError, match="more than 262144 bytes"):
        read_yaml(path)


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "9" * 5000, "\ufeff{}", "nul"])
def test_other_text_is_no_json(tmp_path, content):
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    with pytest.raises(MasksrError, match=r"x\.json: cannot be read"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    "text, where",
    [("a: {b: [1, 0o17]}", "a.b.1"), ("a: 1:30", "a"), ("a: 010", "a"), ("a: 1e-4", "a"), ("a: 0.5\nb: on", "b")],
)
def test_what_dvc_reads_otherwise_is_refused(tmp_path, text, where):
    """DVC puts its own reading into commands; the one that is checked here must be the same."""
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(MasksrError, match=rf"x\.yaml: {where} means another thing to DVC"):
        check_dvc_reads_the_same(tmp_path / "x.yaml")


@pytest.mark.parametrize("line", ["a: 1 #\u2028b: 2", "a: b\x85c: d", "#\u2029a: 1"])
def test_line_breaks_that_only_one_yaml_knows_hide_nothing(tmp_path, line):
    (tmp_path / "x.yaml").write_text(f"k: 1\n{line}\n", encoding="utf-8")
    with pytest.raises(MasksrError):
        check_dvc_reads_the_same(tmp_path / "x.yaml")
