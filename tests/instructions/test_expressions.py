"""Names, places and sizes are said only where they are plain and mean one object."""

from hypothesis import given
from hypothesis import strategies as st

from simpleseg_core.instructions.expressions import Item, name_items


def _item(name: str, left: float, top: float, side: float = 0.1) -> Item:
    return Item(name, (left, top, left + side, top + side), side**2)


def _said(*items: Item, vague: tuple[str, ...] = ()) -> dict[str, int]:
    return {naming.text: naming.index for naming in name_items(items, vague)}


def test_a_name_alone_serves_where_it_is_unique() -> None:
    assert _said(_item("dog", 0, 0), _item("cat", 0.5, 0)) == {"dog": 0, "cat": 1}


def test_several_of_a_name_are_told_apart_by_place_and_size() -> None:
    said = _said(_item("dog", 0.1, 0.1), _item("dog", 0.4, 0.4), _item("dog", 0.6, 0.6, 0.3))
    assert said == {
        "leftmost dog": 0,
        "rightmost dog": 2,
        "dog at the top": 0,
        "dog at the bottom": 2,
        "biggest dog": 2,
    }


def test_differences_too_small_to_see_are_not_said() -> None:
    assert _said(_item("dog", 0.10, 0.5), _item("dog", 0.13, 0.5, 0.11)) == {}


def test_a_crowd_makes_its_name_useless() -> None:
    assert _said(_item("person", 0, 0), _item("dog", 0.5, 0), vague=("person",)) == {"dog": 1}


def test_a_general_name_also_means_the_special_ones() -> None:
    assert _said(_item("circle", 0.0, 0.5), _item("red circle", 0.6, 0.5)) == {
        "leftmost circle": 0,
        "rightmost circle": 1,
        "red circle": 1,
    }


_items = st.lists(
    st.builds(_item, st.sampled_from(["dog", "cat", "red dog"]), *[st.floats(0, 0.7)] * 2, st.floats(0.01, 0.3)),
    max_size=6,
)


@given(_items, st.randoms())
def test_what_is_said_does_not_depend_on_the_order_of_the_objects(items: list[Item], random: object) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    said = {text: items[index] for text, index in _said(*items).items()}
    again = {text: shuffled[index] for text, index in _said(*shuffled).items()}
    assert said == again
    assert len(name_items(items)) == len(said)
