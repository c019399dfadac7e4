"""Categories of a COCO file: phrases, nouns, or what a file says; nothing is guessed in silence."""

import json
from pathlib import Path

import pytest

from simpleseg_core.export import Annotations, by_file, by_noun, by_phrase, export_coco
from tests.export.annotated import write_annotations

PHRASES = ["red car", "car on the left", "Sedan", "a dog"]


def test_a_phrase_may_be_its_own_category() -> None:
    assert by_phrase(PHRASES) == {phrase: phrase for phrase in PHRASES}


def test_nouns_gather_phrases() -> None:
    assert by_noun(PHRASES) == {"red car": "car", "car on the left": "car", "Sedan": "sedan", "a dog": "dog"}
    assert by_noun(["on", "of mice"]) == {"on": "on", "of mice": "mice"}


def test_a_file_names_phrases_and_nouns_and_leaves_out(tmp_path: Path) -> None:
    file = tmp_path / "names.yaml"
    file.write_text("car: vehicle\nred car: fire engine\nsedan: vehicle\ndog: null\n")
    assert by_file(file)(PHRASES) == {
        "red car": "fire engine", "car on the left": "vehicle", "Sedan": "vehicle", "a dog": None
    }  # fmt: skip


def test_a_phrase_that_the_file_does_not_know_is_named(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    file.write_text(json.dumps({"car": "vehicle"}))
    with pytest.raises(ValueError, match=r"names\.json: no category for 2 phrases \('Sedan', 'a dog'\)"):
        by_file(file)(PHRASES)


@pytest.mark.parametrize("text", ["- car", "car: [1, 2]", "car: {a: b}", "a: *b", "[" * 500, "\x00"])
def test_a_file_that_is_no_map_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "names.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"names\.yaml"):
        by_file(file)
    with pytest.raises(ValueError, match="missing"):
        by_file(tmp_path / "missing")


def test_instances_are_counted_by_noun_and_left_out_with_it(tmp_path: Path) -> None:
    rows = write_annotations(tmp_path)
    nouns = by_noun([row["phrase"] for row in rows])
    out = sorted({str(noun) for noun in nouns.values()})[0]

    def all_but_one(phrases: list[str]) -> dict[str, str | None]:
        return {phrase: None if noun == out else noun for phrase, noun in by_noun(phrases).items()}

    file, annotations = tmp_path / "instances.json", Annotations.open(tmp_path)
    counts = export_coco(annotations, file, lambda image: image.key, categories=all_but_one)
    document = json.loads(file.read_text())
    names = {item["id"]: item["name"] for item in document["categories"]}
    assert sorted(names.values()) == sorted(set(nouns.values()) - {out})
    assert [names[item["category_id"]] for item in document["annotations"]] == [
        nouns[row["phrase"]] for row in rows if nouns[row["phrase"]] != out
    ]
    assert [item["id"] for item in document["annotations"]] == list(range(1, counts["annotations"] + 1))
    assert len(document["images"]) == counts["images"] == 8
