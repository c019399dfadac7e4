"""Images of referring sets on their way into shards: a broken one is named, whatever Pillow says of it."""

from pathlib import Path

import pytest

from simpleseg_core.sources.referring import ReferringImage, pack_pictures
from simpleseg_core.sources.referring._sets import ImageFile
from tests.sources.referring.originals import HEIGHT, WIDTH, broken_png


@pytest.mark.parametrize("body", [b"no image", broken_png()], ids=["text", "broken png"])
def test_a_broken_image_is_named(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(body)
    image = ReferringImage("a", ImageFile(file), WIDTH, HEIGHT, (), ())
    with pytest.raises(ValueError, match=r"a\.png: not a readable image"):
        pack_pictures([image], tmp_path / "dataset")
