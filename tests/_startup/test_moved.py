"""Names of before: a script written for 0.1 imports what it did, and is told where that is now."""

import importlib

import pytest

from simpleseg_core._startup.moved import MOVED


@pytest.mark.parametrize(("former", "now"), MOVED.items())
def test_a_module_answers_to_its_former_name(former: str, now: str) -> None:
    with pytest.warns(DeprecationWarning, match=now.replace(".", r"\.")):
        found = importlib.reload(importlib.import_module(former))
    public = {name for name in vars(importlib.import_module(now)) if not name.startswith("_")}
    assert public <= vars(found).keys()


def test_modules_inside_a_package_that_moved_are_the_same_things() -> None:
    former = importlib.import_module("simpleseg_core.data.web._addresses")
    now = importlib.import_module("simpleseg_core.fetch._addresses")
    assert former.AddressPolicy is now.AddressPolicy


def test_the_picture_of_before_is_the_captioned_image() -> None:
    protocols = importlib.import_module("simpleseg_core.annotate._protocols")
    assert protocols.Picture is protocols.CaptionedImage


def test_what_never_was_is_still_missing() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"simpleseg_core\.data\.nowhere"):
        importlib.import_module("simpleseg_core.data.nowhere")
