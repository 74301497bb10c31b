from gateway.compat.catalog import Model
from gateway.simulator.replies.profiles import profile_of
from tests.support.judged import catalogue


def test_every_model_has_a_profile() -> None:
    for model in catalogue().models:
        profile = profile_of(model)
        assert profile.words > 10
        assert 0 < profile.refusal_rate < 0.01
        assert profile.first_token_ms > profile.per_token_ms > 0


def test_models_differ() -> None:
    old, new = (profile_of(_model(name)) for name in ("claude-opus-4-5", "claude-opus-5-5"))
    haiku = profile_of(_model("claude-haiku-5-5"))
    assert new.words < old.words
    assert new.refusal_rate > old.refusal_rate
    assert haiku.first_token_ms < new.first_token_ms


def test_some_models_repeat_a_beginning_and_some_do_not() -> None:
    habits = {model.id: profile_of(model).repeats_beginning for model in catalogue().models}
    assert habits["claude-opus-5-5"]
    assert not habits["claude-opus-5"]
    assert not habits["claude-sonnet-5-5"]


def _model(name: str) -> Model:
    model = catalogue().find(name)
    assert model is not None
    return model
