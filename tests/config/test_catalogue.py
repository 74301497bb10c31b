"""A catalogue is taken whole: rows that contradict themselves or name strangers are refused."""

from pathlib import Path

import pytest

from gateway.config import load_catalogue
from tests.support.documents import PRICES, problems_of, row


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"prices": PRICES.replace("5,", "-5,", 1)}, "prices: a price is not negative"),
        ({"effort": "{levels: [low], default: high}"}, "effort.default: is one of effort.levels"),
        ({"effort": "{default: high}"}, "effort.default: is one of effort.levels"),
        (
            {"sampling": "{accepts: defaults}"},
            "sampling.defaults: go with accepts: defaults, and only with it",
        ),
        (
            {"sampling": "{accepts: defaults, defaults: {topp: 1}}"},
            "sampling.defaults: only temperature, top_p and top_k",
        ),
        ({"lifecycle": "{status: retired}"}, "lifecycle.retires_on: a retired model has its date"),
        (
            {"prices": f"null\n    long_prices: {{above_prompt_tokens: 1, prices: {PRICES}}}"},
            "long_prices: needs prices for shorter prompts",
        ),
        ({"features": "[fallbacks]"}, "fallbacks: go with the feature fallbacks, and only with it"),
        ({"fallbacks": "[a]"}, "fallbacks: go with the feature fallbacks, and only with it"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(
    tmp_path: Path, changed: dict[str, str], problem: str
) -> None:
    (tmp_path / "models.yaml").write_text("models:" + row("a") + row("b", **changed))
    assert problems_of(load_catalogue, tmp_path / "models.yaml") == [f"models.yaml: models[1] (b): {problem}"]


@pytest.mark.parametrize("field", ["advisors", "fallbacks", "reads"])
@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("ab", "'ab' is not in the catalogue; did you mean 'abc'?"),
        ("nobody", "'nobody' is not in the catalogue"),
        ("abcd", "'abcd' is an alias; name the id 'abc'"),
    ],
)
def test_the_models_that_a_row_names_have_rows(tmp_path: Path, field: str, named: str, problem: str) -> None:
    features = {"features": "[fallbacks]"} if field == "fallbacks" else {}
    (tmp_path / "models.yaml").write_text(
        "models:" + row("abc", "abcd") + row("b", **{field: f"[{named}]"}, **features)
    )
    assert problems_of(load_catalogue, tmp_path / "models.yaml") == [
        f"models.yaml: models[1] (b): {field}: {problem}"
    ]


def test_an_id_in_two_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models:" + row("a", "b") + row("b"))
    assert problems_of(load_catalogue, tmp_path / "models.yaml") == [
        "models.yaml: model id 'b' stands in two rows: a and b"
    ]
