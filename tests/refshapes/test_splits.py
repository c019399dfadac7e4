import pytest

from simpleseg_core.refshapes import SHAPES, Scene, scene
from tests.refshapes.scenes import CONFIG

CONVEX = {"circle", "square", "triangle", "diamond", "oval"}


@pytest.fixture(scope="module")
def worlds() -> dict[str, list[Scene]]:
    return {split: [scene(CONFIG, 5, split, i) for i in range(250)] for split in ("train", "val", "testA", "testB")}


def _kinds(scenes: list[Scene]) -> list[str]:
    return [query.kind for item in scenes for query in item.queries]


def _share(kind: str, scenes: list[Scene]) -> float:
    return _kinds(scenes).count(kind) / len(_kinds(scenes))


def test_test_a_is_whole_convex_and_plainly_asked(worlds: dict[str, list[Scene]]) -> None:
    items = [item for drawn in worlds["testA"] for item in drawn.objects]
    assert {item.shape for item in items} == CONVEX
    assert not any(item.occluded for item in items)
    assert {(item.parts, item.holes) for item in items} == {(1, 0)}
    assert set(_kinds(worlds["testA"])) == {"attribute", "size", "position"}


def test_test_b_is_hidden_intricate_and_hard_to_ask(worlds: dict[str, list[Scene]]) -> None:
    hard, train = worlds["testB"], worlds["train"]

    def rate(scenes: list[Scene], name: str) -> float:
        items = [item for drawn in scenes for item in drawn.objects]
        return sum(getattr(item, name) > (name == "parts") for item in items) / len(items)

    for name in ("occluded", "holes", "parts"):
        assert rate(hard, name) > 1.15 * rate(train, name) > 0
    for kind in ("relation", "multiple", "none"):
        assert _share(kind, hard) > 1.4 * _share(kind, train) > 0
    assert sum(len(drawn.objects) >= 3 for drawn in hard) > 0.9 * len(hard)


def test_train_and_val_are_alike(worlds: dict[str, list[Scene]]) -> None:
    for kind in ("attribute", "position", "relation", "none"):
        assert _share(kind, worlds["train"]) == pytest.approx(_share(kind, worlds["val"]), abs=0.07)
    for split in ("train", "val"):
        assert {item.shape for drawn in worlds[split] for item in drawn.objects} == set(SHAPES)
        assert any(item.occluded for drawn in worlds[split] for item in drawn.objects)
