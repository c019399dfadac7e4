"""Chat templates come with a model's files: whatever they compute, rendering one ends."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import ProcessorMixin

from simpleseg_core.models import _bounded
from simpleseg_core.models.chat import chat_prompt, chat_text
from simpleseg_core.models.loading import load_processor
from tests.tiny import TINY

Templated = Callable[[str], ProcessorMixin]


@pytest.fixture
def templated(tiny_checkpoint: Path) -> Templated:
    """The tiny model's processor with another chat template."""

    def make(template: str) -> ProcessorMixin:
        processor = load_processor(tiny_checkpoint, TINY)
        processor.chat_template = template
        return processor

    return make


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for i in range(10**12) %}x{% endfor %}", "computes powers"),
        ("{{ 10**10**9 }}", "computes powers"),
        ("{% for i in range(1000000000000) %}x{% endfor %}", "cannot be used: Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "cannot be used: maximum recursion"),
        ("{{ 'x' * 2000000 }}", "writes 2000000 characters"),
        ("{{ raise_exception('not with images') }}", "cannot be used: not with images"),
        ("{{ 'x' + 1 }}", "cannot be used"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(templated: Templated, template: str, said: str) -> None:
    processor = templated(template)
    with pytest.raises(ValueError, match="its chat template") as error:
        chat_prompt(processor, "outline of a star")
    assert said in str(error.value) and processor.tokenizer.name_or_path in str(error.value)


def test_a_template_that_loops_for_ever_is_stopped(templated: Templated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded.render_within, "__defaults__", (0.5,))
    loops = "{% for i in range(99999) %}" * 4 + "{% endfor %}" * 4
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"its chat template does not end within 0\.5 s"):
        chat_text(templated("{% if messages | length > 1 %}" + loops + "{% endif %}"), ["what"], ["[]"])
    assert time.monotonic() - began < 30


def test_a_rendering_that_ends_leaves_no_threads_and_nothing_pending(templated: Templated) -> None:
    before, processor = threading.active_count(), templated("{{ messages[0].content[1].text }}")
    assert [chat_prompt(processor, str(i)) for i in range(300)] == [str(i) for i in range(300)]
    time.sleep(0.1)
    assert threading.active_count() <= before + 1


def test_a_template_may_mark_what_is_generated_and_write_stars(templated: Templated) -> None:
    template = "{% generation %}**{{ messages | length * 2 }}**{% endgeneration %}"
    assert chat_prompt(templated(template), "what") == "**2**"
