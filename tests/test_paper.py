import pytest

from masksr.errors import MasksrError
from masksr.results import paper


def test_table1_is_the_one_printed():
    table = paper.table1()
    assert list(table["variant"]) == ["ESRGAN", "ESRGAN+Mask", "PESR", "PESR+Mask", "EDSR", "EDSR+Mask"]
    assert paper.sets() == ["DIV2K", "Urban100", "BSD100", "PIRM"]
    assert table[paper.sets()].sum().round(2).to_dict() == {
        "DIV2K": 19.53,
        "Urban100": 21.10,
        "BSD100": 14.79,
        "PIRM": 13.65,
    }
    assert set(table["metric"]) == {"PI"}


def test_no_model_gets_worse_with_the_mask_in_the_paper():
    effect = paper.mask_effect().set_index("model")[paper.sets()]
    assert (effect <= 0).all(axis=None)
    assert effect.loc["pesr", "BSD100"] == -0.64


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("DIV2K_valid", "DIV2K"),
        ("div2k-valid", "DIV2K"),
        ("DIV2K_train", None),
        ("PIRM_valid", "PIRM"),
        ("PIRM_test", None),
        ("B100", "BSD100"),
        ("BSDS500", None),
        ("Urban100", "Urban100"),
        ("cat", None),
    ],
)
def test_test_sets_are_matched_by_their_usual_names(ours, theirs):
    assert paper.match_set(ours) == theirs


def test_the_citation_names_the_paper():
    assert "10.11835/j.issn.1000-582X.2023.05.010" in paper.citation()
    assert paper.mask() == {"k": 0.2, "b": 0.5}


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(MasksrError, match="cannot be read"):
        paper._read(tmp_path / "paper.yaml")
