import pytest

from jobs.errors import InvalidRequest
from jobs.session.engines import Engine, EngineKind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("embedded", EngineKind.EMBEDDED),
        ("sc://host:15002", EngineKind.CONNECT),
        ("sc://host:15002/;use_ssl=true;token=abc", EngineKind.CONNECT),
        ("local[*]", EngineKind.SUBMIT),
        ("local[2]", EngineKind.SUBMIT),
        ("spark://host:7077", EngineKind.SUBMIT),
        ("yarn", EngineKind.SUBMIT),
        ("k8s://https://host:443", EngineKind.SUBMIT),
    ],
)
def test_the_text_of_the_setting_says_which_engine(text: str, kind: EngineKind) -> None:
    assert Engine.parse(f" {text} ").kind is kind


@pytest.mark.parametrize("text", ["", "yarn ; rm -rf /", "local[x]", "http://host", "sc://", "Embedded"])
def test_another_text_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"sc://host:15002.*local\[\*\].*TESSERA_SPARK.*spark_default"):
        Engine.parse(text)


def test_an_engine_is_shown_without_its_token() -> None:
    engine = Engine.parse("sc://host:15002/;token=secret")
    assert str(engine) == "sc://host:15002"
    assert "secret" not in repr(engine)
