"""What both Grounding-DINO engines share: prompts with known token spans, and boxes from token probabilities."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simpleseg_core.annotate._protocols import CaptionedImage, Detection, Image
from simpleseg_core.annotate.boxes import suppress
from simpleseg_core.annotate.phrases import CaptionPhrase, listed_phrases, noun_phrases
from simpleseg_core.config import DetectConfig

Offsets = Sequence[tuple[int, int]]
"""Characters [start, end) of each token; empty for special tokens."""
Floats = NDArray[np.float64]

MAX_TOKENS = 256
"""Length of the text that Grounding-DINO was trained with; longer prompts are split."""
_SEPARATOR = ". "


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Phrases joined to one text, "red circle. blue star.", with the token span of each phrase."""

    text: str
    phrases: tuple[CaptionPhrase, ...]
    positive_map: Floats
    """(phrases, tokens): uniform over the tokens of each phrase, rows sum to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptedImage:
    """One prompt about one of the images."""

    index: int
    """Of the image among those asked about."""
    image: Image
    prompt: TextPrompt


Offset = Callable[[str], Offsets]
Predict = Callable[[Sequence[PromptedImage]], Iterable[tuple[Floats, Floats]]]
"""Questions about images of one shape -> token probabilities (queries, tokens) and boxes (queries, 4) cxcywh."""


def detect(
    images: Sequence[CaptionedImage], offsets: Offset, predict: Predict, config: DetectConfig
) -> list[list[Detection]]:
    """Ask about the phrases of every image, in batches of images of one shape, and suppress across phrases.

    Only images of one shape share a batch: padding changes what the backbone sees, and an image's boxes must not
    depend on its company.
    """
    prompts: dict[tuple[CaptionPhrase, ...], list[TextPrompt]] = {}
    questions = []
    for index, image in enumerate(images):
        phrases = tuple(wanted(image, config))
        if phrases not in prompts:
            prompts[phrases] = make_prompts(phrases, offsets)
        questions += [PromptedImage(index, image.image, prompt) for prompt in prompts[phrases]]
    found: list[list[Detection]] = [[] for _ in images]
    for batch in _batches(questions, config.batch_size):
        for asked, (probabilities, boxes) in zip(batch, predict(batch), strict=True):
            found[asked.index].extend(_select(asked.prompt, probabilities, boxes, config))
    return [_across_phrases(items, config.nms_iou) for items in found]


def wanted(image: CaptionedImage, config: DetectConfig) -> list[CaptionPhrase]:
    """The image's own phrases; without any, noun phrases of its caption, then the vocabulary, as configured."""
    if image.phrases:
        return listed_phrases(image.phrases, image.caption)
    found = {} if config.phrases == "vocabulary" else {item.text: item for item in noun_phrases(image.caption)}
    if config.phrases != "caption":
        for item in listed_phrases(config.vocabulary, image.caption):
            found.setdefault(item.text, item)
    return list(found.values())


def make_prompts(phrases: Sequence[CaptionPhrase], offsets: Offset, limit: int = MAX_TOKENS) -> list[TextPrompt]:
    """As few prompts as hold all phrases in at most `limit` tokens each; a phrase that is longer alone is dropped."""
    groups: list[list[CaptionPhrase]] = []
    special, used = len(offsets("")), limit
    for phrase in phrases:
        # BERT splits at spaces and full stops first, so that phrases do not change each other's tokens.
        tokens = len(offsets(_join([phrase]))) - special
        if special + tokens > limit:
            continue
        if used + tokens > limit:
            groups.append([])
            used = special
        groups[-1].append(phrase)
        used += tokens
    return [_prompt(group, offsets) for group in groups]


def _join(phrases: Sequence[CaptionPhrase]) -> str:
    return "".join(f"{phrase.text}{_SEPARATOR}" for phrase in phrases).strip()


def _prompt(phrases: Sequence[CaptionPhrase], offsets: Offset) -> TextPrompt:
    text = _join(phrases)
    spans = offsets(text)
    positive = np.zeros((len(phrases), len(spans)))
    start = 0
    for row, phrase in enumerate(phrases):
        end = start + len(phrase.text)
        positive[row] = [first < end and last > start and last > first for first, last in spans]
        start = end + len(_SEPARATOR)
    return TextPrompt(text, tuple(phrases), positive / positive.sum(axis=1, keepdims=True).clip(min=1))


def _batches(questions: Sequence[PromptedImage], size: int) -> Iterator[list[PromptedImage]]:
    by_shape: dict[tuple[int, ...], list[PromptedImage]] = {}
    for asked in questions:
        by_shape.setdefault(asked.image.shape, []).append(asked)
    for group in by_shape.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _select(prompt: TextPrompt, probabilities: Floats, boxes: Floats, config: DetectConfig) -> Iterator[Detection]:
    """Boxes above the thresholds, each with the phrase whose tokens fit best on average (the positive map's)."""
    scores = probabilities.max(axis=1)
    by_phrase = probabilities[:, : prompt.positive_map.shape[1]] @ prompt.positive_map.T
    best = by_phrase.argmax(axis=1)
    for query in np.flatnonzero(scores > config.box_threshold):
        if by_phrase[query, best[query]] > config.text_threshold:
            phrase = prompt.phrases[int(best[query])]
            x, y, width, height = boxes[query]
            corners = np.clip([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 0, 1)
            left, top, right, bottom = corners.tolist()
            if right > left and bottom > top:
                yield Detection(
                    phrase.text, (phrase.start, phrase.end), (left, top, right, bottom), float(scores[query])
                )


def _across_phrases(detections: Sequence[Detection], threshold: float) -> list[Detection]:
    """Best first; of boxes that overlap more than the threshold, whatever their phrases, the best."""
    boxes, scores = [item.box for item in detections], [item.score for item in detections]
    return [detections[i] for i in suppress(boxes, scores, threshold)]
