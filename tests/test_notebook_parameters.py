import ast

import nbformat
import papermill
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from masksr.errors import MasksrError
from masksr.notebook_parameters import checked, declared, parsed


def notebook(path, *cells, tag="parameters"):
    """Write a notebook whose first cell is tagged and return its path."""
    codes = [nbformat.v4.new_code_cell(source) for source in cells]
    codes[0].metadata["tags"] = [tag] if tag else []
    nbformat.write(nbformat.v4.new_notebook(cells=codes), path)
    return path


@pytest.fixture
def source(tmp_path):
    return notebook(
        tmp_path / "n.ipynb",
        'mask = "none"  # text\nseed = 0\nlr: float = 1e-4\nfast = False\n'
        "k: float | None = None\nks = [0.1]\nany = None",
    )


def test_parameters_have_the_types_of_their_defaults(source):
    assert {name: parameter.default for name, parameter in declared(source).items()} == {
        "mask": "none", "seed": 0, "lr": 1e-4, "fast": False, "k": None, "ks": [0.1], "any": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["seed=3", "lr=0.5", "fast=true"], {"seed": 3, "lr": 0.5, "fast": True}),
        (["lr=2"], {"lr": 2.0}),
        (["lr=1e-4", "k=3e-06"], {"lr": 1e-4, "k": 3e-6}),
        (["mask=2"], {"mask": "2"}),
        (["mask=no"], {"mask": "no"}),
        (["mask=a=b"], {"mask": "a=b"}),
        (["k=1"], {"k": 1.0}),
        (["k=null"], {"k": None}),
        (["ks=[1, 2]", "any=x"], {"ks": [1, 2], "any": "x"}),
        ([], {}),
    ],
)
def test_words_of_a_command_line_become_typed_values(source, words, values):
    result = checked(source, parsed(source, words))
    assert result == values
    assert {name: type(value) for name, value in result.items()} == {n: type(v) for n, v in values.items()}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fast='false'"], "'fast' must be true or false"),
        (["fast=0"], "'fast' must be true or false"),
        (["seed=three"], "'seed' must be a whole number"),
        (["seed=1.0"], "'seed' must be a whole number"),
        (["seed=true"], "'seed' must be a whole number"),
        (["k=x"], "'k' must be a number or null"),
        (["seed="], "'seed' must be a whole number"),
        (["sede=1"], "no parameter 'sede' (there are: mask, seed"),
        (["seed"], "write name=value"),
        (["seed=1", "seed=2"], "given twice"),
        (["ks=[1"], "not valid YAML"),
    ],
)
def test_a_wrong_parameter_is_one_line(source, words, says):
    with pytest.raises(MasksrError) as caught:
        checked(source, parsed(source, words))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
    st.booleans(),
)
def test_whatever_yaml_writes_is_read_back(tmp_path_factory, whole, number, text, truth):
    source = notebook(tmp_path_factory.mktemp("n") / "n.ipynb", 'i = 0\nf = 0.0\ns = ""\nb = False')
    as_yaml = {
        name: yaml.safe_dump(value).split("\n")[0] for name, value in {"i": whole, "f": number, "b": truth}.items()
    }
    words = [f"{name}={value}" for name, value in as_yaml.items()] + [f"s={text}"]
    assert checked(source, parsed(source, words)) == {"i": whole, "f": number, "s": text, "b": truth}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
@example('"; import os; os.system("x") #')
@example({'"}; import os #': ["\\", '\\"\n', "\udc80\u2028\0"]})
def test_papermill_writes_a_value_as_a_literal_whatever_is_in_it(tmp_path_factory, value):
    source = notebook(tmp_path_factory.mktemp("n") / "n.ipynb", "anything = None")
    typed = checked(source, {"anything": value})
    (line,) = ast.parse(papermill.translators.PythonTranslator.codify(typed)).body
    assert line.targets[0].id == "anything" and ast.literal_eval(line.value) == value


@pytest.mark.parametrize("value", [b'"; import os #', {b'"': 1}, {1: 1}, [{2}], [b""], (1,), {"a": [object()]}])
def test_what_papermill_would_write_as_code_is_refused(tmp_path, value):
    with pytest.raises(MasksrError, match="'anything' holds more than text"):
        checked(notebook(tmp_path / "n.ipynb", "anything = None"), {"anything": value})


def test_yaml_on_the_command_line_makes_no_other_types(tmp_path):
    source = notebook(tmp_path / "n.ipynb", "anything = None")
    for text in ["!!binary aGk=", "2024-01-01", "!!set {a}", "{1: 2}", "9" * 5000, "[" * 5000, "!!python/name:os.sep"]:
        with pytest.raises(MasksrError, match="anything"):
            parsed(source, [f"anything={text}"])


@pytest.mark.parametrize(
    "content",
    [
        *("[" * 100_000, "9" * 5000, "[]", "null", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"metadata": []}]}'),
        '{"cells": [{"metadata": {"tags": 7}}]}',
        '{"cells": [{"metadata": {"tags": ["parameters"]}, "source": [7]}]}',
    ],
)
def test_other_json_is_no_notebook(tmp_path, content):
    (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(MasksrError, match=r"not a notebook|only lines like"):
        declared(tmp_path / "n.ipynb")


@pytest.mark.parametrize("cell", ["a = " + "(" * 5000, "a = " + "-" * 100_000 + "1", "a = {[]: 1}", "a = b'x' 'y'"])
def test_an_absurd_literal_is_refused(tmp_path, cell):
    with pytest.raises(MasksrError, match="only lines like: name = 1"):
        declared(notebook(tmp_path / "n.ipynb", cell))


def test_values_from_python_are_checked_too(source):
    with pytest.raises(MasksrError, match="'mask' must be text, but is 2"):
        checked(source, {"mask": 2})


def test_a_notebook_without_the_tag_takes_no_parameters(tmp_path):
    source = notebook(tmp_path / "n.ipynb", "seed = 0", tag=None)
    assert checked(source, {}) == {}
    with pytest.raises(MasksrError, match="no cell is tagged 'parameters'"):
        checked(source, {"seed": 1})


@pytest.mark.parametrize(
    "cell", ["import torch", "seed = int(3)", "a = b = 1", "seed: tensor = 1", "seed =", "seed: int"]
)
def test_a_parameters_cell_holds_literals_only(tmp_path, cell):
    with pytest.raises(MasksrError, match="only lines like: name = 1"):
        declared(notebook(tmp_path / "n.ipynb", cell))


def test_a_source_must_be_a_clean_notebook(tmp_path):
    ran = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="1")])
    nbformat.write(nbformat.v4.new_notebook(cells=[ran]), tmp_path / "ran.ipynb")
    injected = notebook(tmp_path / "injected.ipynb", "seed = 0", tag="injected-parameters")
    (tmp_path / "text.ipynb").write_text("not json")
    for name, says in {"ran": "saved outputs", "injected": "saved outputs", "text": "not a notebook"}.items():
        with pytest.raises(MasksrError, match=says):
            declared(tmp_path / f"{name}.ipynb")
    with pytest.raises(MasksrError, match="No such file"):
        declared(injected.with_name("nowhere.ipynb"))
    two = nbformat.read(injected, as_version=4)
    two.cells = [nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]}) for _ in range(2)]
    nbformat.write(two, injected)
    with pytest.raises(MasksrError, match="2 cells are tagged"):
        declared(injected)
