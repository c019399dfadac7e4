"""The common schema of metadata rows, and the published schemas that are read as it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

METADATA = pa.schema(
    [
        ("row_id", pa.string()),
        ("key", pa.uint64()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("hash", pa.string()),
        ("hash_kind", pa.string()),
        ("similarity", pa.float32()),
        ("punsafe", pa.float32()),
        ("watermark", pa.float32()),
        ("language", pa.string()),
        ("license", pa.string()),
        ("source", pa.string()),
        ("annotations", pa.string()),
        ("image", pa.string()),
        ("body", pa.large_binary()),
    ]
)
"""The common schema. `key` identifies the URL; `row_id` is the table's own id where it has one; `hash` is of the image
(`hash_kind`: md5, sha1, sha256, sha512 or phash); `punsafe` and `watermark` are probabilities; `source` names file and
schema. Sources on disk bring their images along: `body` is the encoded image, `image` its name to be."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One published schema: common name -> names its column goes by, and the kind of its content hash."""

    columns: Mapping[str, tuple[str, ...]]
    hash_kind: str | None = None
    reference: str = field(default="")
    """Where the schema is published."""


ADAPTERS: dict[str, Adapter] = {
    "laion": Adapter(
        {
            "row_id": ("sample_id", "key"),
            "url": ("url",),
            "text": ("text", "caption"),
            "width": ("width",),
            "height": ("height",),
            "similarity": ("similarity",),
            "punsafe": ("punsafe",),
            "watermark": ("pwatermark",),
            "language": ("language",),
            "license": ("license",),
        },
        reference="LAION-5B and Re-LAION-5B (laion.ai); its `hash` is of URL and text, not of the image",
    ),
    "laion_coco": Adapter(
        {
            "url": ("url",),
            "text": ("top_caption",),
            "width": ("width",),
            "height": ("height",),
            "similarity": ("similarity",),
            "punsafe": ("punsafe",),
            "watermark": ("pwatermark",),
        },
        reference="LAION-COCO (laion.ai); the caption is the best synthetic one",
    ),
    "coyo": Adapter(
        {
            "row_id": ("id",),
            "url": ("url",),
            "text": ("text",),
            "width": ("width",),
            "height": ("height",),
            "hash": ("image_phash",),
            "similarity": ("clip_similarity_vitb32",),
            "punsafe": ("nsfw_score_opennsfw2",),
            "watermark": ("watermark_score",),
        },
        hash_kind="phash",
        reference="COYO-700M (github.com/kakaobrain/coyo-dataset)",
    ),
    "datacomp": Adapter(
        {
            "row_id": ("uid",),
            "url": ("url",),
            "text": ("text",),
            "width": ("original_width",),
            "height": ("original_height",),
            "hash": ("sha256",),
            "similarity": ("clip_b32_similarity_score",),
        },
        hash_kind="sha256",
        reference="DataComp (github.com/mlfoundations/datacomp)",
    ),
    "generic": Adapter({}, hash_kind="sha256", reference="data.web.columns"),
}
