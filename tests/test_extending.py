"""What CONTRIBUTING says of adding something is true: a checkout that has just these files more uses them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.test_imports import lint

PACKAGES = ("simpleseg_core", "tasks", "flows")


@pytest.fixture(scope="module")
def checkout(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the packages, what is compiled included, to add files to."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        shutil.copytree(repository / package, folder / package)
    yield folder
    shutil.rmtree(folder)


def python(checkout: Path, code: str) -> str:
    """What a program says that finds its packages in the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def add(checkout: Path, file: str, text: str) -> None:
    assert not (checkout / file).exists()
    (checkout / file).write_text(text)


def edit(checkout: Path, file: str, before: str, after: str) -> None:
    """Change the one place of a file that has the text."""
    text = (checkout / file).read_text()
    assert text.count(before) == 1, file
    (checkout / file).write_text(text.replace(before, after))


REWARD_TERM = '''"""Answers of exactly one polygon."""

from simpleseg_core.rewards.terms import Answer


def reward(answer: Answer) -> float:
    """1 for one polygon."""
    return float(len(answer.polygons) == 1)
'''


DETECTOR = '''"""The middle of every image, called by the first phrase."""

from simpleseg_core.annotate import Detection
from simpleseg_core.annotate.detectors import DetectorEngine


class Middle:
    name = "middle"

    def detect(self, images):
        return [[Detection(image.caption, (-1, -1), (0.25, 0.25, 0.75, 0.75), 1.0)] for image in images]


DETECTOR = DetectorEngine(lambda config: Middle(), weights=False)
'''
SEGMENTER = '''"""All of a box."""

import numpy as np

from simpleseg_core.annotate import Segment
from simpleseg_core.annotate.segmenters import SegmenterEngine


class Boxes:
    name = "boxes"

    def segment(self, image, boxes):
        return [Segment(self.fill(image.shape[:2], box), 1.0, 1.0) for box in boxes]

    def fill(self, size, box):
        (left, right), (top, bottom) = ((int(box[i] * size[1 - i]), int(box[i + 2] * size[1 - i])) for i in (0, 1))
        mask = np.zeros(size, bool)
        mask[top:bottom, left:right] = True
        return mask


SEGMENTER = SegmenterEngine(lambda config: Boxes(), weights=False)
'''
DESCRIBER = '''"""The phrase, politely."""

from simpleseg_core.annotate import Description
from simpleseg_core.annotate.describers import DescriberEngine


class Polite:
    def describe(self, scenes):
        return [[Description(f"the {each.phrase}, please", "polite") for each in scene.instances] for scene in scenes]

    def close(self):
        """Nothing is held."""


DESCRIBER = DescriberEngine(lambda config, detector: Polite(), weights=False)
'''


EXPORT_FORMAT = '''"""A line for each instance."""

from pathlib import Path

from simpleseg_core.export.formats import Export


def write(export: Export, folder: Path) -> dict[str, int]:
    """`lines.txt`."""
    rows = [row for image in export.annotations.images() for row in image.instances]
    (folder / "lines.txt").write_text("".join(f"{row['description']}\\n" for row in rows))
    return {"lines": len(rows)}
'''


ARCHITECTURE = '''"""A Qwen2.5-VL under another name."""

from dataclasses import replace

from simpleseg_core.models.architectures.qwen2_5_vl import ARCHITECTURE as QWEN

ARCHITECTURE = replace(QWEN, name="twin", model_types=("twin",))
'''


SOURCE = '''"""A grey square, on a site of its own."""

from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simpleseg_core.config import WebConfig
from simpleseg_core.data.shards import encode_jpeg
from simpleseg_core.fetch import read_metadata
from simpleseg_core.refshapes.site import BASE_URL, serve_folder
from simpleseg_core.sources._protocol import Opened, Source


@contextmanager
def _open(config, work):
    site, side = work / "site", config.data.squares.side
    site.mkdir(parents=True)
    (site / "grey.jpg").write_bytes(encode_jpeg(np.full((side, side, 3), 80, np.uint8)))
    pq.write_table(pa.table({"URL": [f"{BASE_URL}/grey.jpg"], "TEXT": ["a square"]}), site / "metadata.parquet")
    with serve_folder(site) as base_url:
        routes = {f"{urlsplit(BASE_URL).netloc}:80": urlsplit(base_url).netloc}
        tables = read_metadata(WebConfig(metadata=str(site / "metadata.parquet")))
        yield Opened(config.data.squares.model_dump(), tables, config.ingest, routes=routes)


SOURCE = Source(_open)
'''


REFERRING = '''"""A line for each image: its file, its size and a box, left to right and top to bottom in pixels."""

from functools import partial

import numpy as np

from simpleseg_core.geometry import encode_rle
from simpleseg_core.sources.referring._sets import AnnotatedObject, ImageFile, ReferringImage, ReferringSet, Utterance


def read_boxed(config):
    images = [_image(config.root, *line.split()) for line in (config.root / "boxes.txt").read_text().splitlines()]
    return ReferringSet(config.name, {"val": tuple(images)})


def _image(root, name, *numbers):
    width, height, left, top, right, bottom = map(int, numbers)
    whole = AnnotatedObject("box", None, partial(_fill, width, height, left, top, right, bottom))
    asked = (Utterance(name, "the box", (0,)),)
    return ReferringImage(name, ImageFile(root / name), width, height, (whole,), asked)


def _fill(width, height, left, top, right, bottom):
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return encode_rle(mask)
'''


OBJECTIVE = '''

@register("reinforce", relative, clip=(1.0, 1.0))
def reinforce(answers: Answers) -> Surrogate:
    """A times the sum of log-probabilities."""
    value = answers.advantages * (answers.logps * answers.mask).sum(-1)
    return Surrogate(value, torch.zeros_like(value).detach())
'''


STAGE = '''"""The stage that counts masks."""

from simpleseg_core.contract import StageResult
from simpleseg_core.files import write_json


def run(config, inputs, outputs, context):
    files = [file for file in inputs["masks"].iterdir() if file.stat().st_size >= config.count.least]
    write_json(outputs["counts"], {"files": len(files)})
    return StageResult(metrics={"files": float(len(files))})
'''


def _extend(checkout: Path) -> None:
    """Touch what the table of CONTRIBUTING names, and nothing else."""
    add(checkout, "simpleseg_core/rewards/terms/single.py", REWARD_TERM)
    add(checkout, "simpleseg_core/annotate/detectors/middle.py", DETECTOR)
    add(checkout, "simpleseg_core/annotate/segmenters/boxes.py", SEGMENTER)
    add(checkout, "simpleseg_core/annotate/describers/polite.py", DESCRIBER)
    add(checkout, "simpleseg_core/export/formats/lines.py", EXPORT_FORMAT)
    add(checkout, "simpleseg_core/models/architectures/twin.py", ARCHITECTURE)
    profile = "profile: twin\nmodel: {architecture: twin, base: scratch}\n"
    add(checkout, "simpleseg_core/config/profiles/twin.yaml", f"# Nothing but a name.\n{profile}")
    add(checkout, "tasks/count.py", STAGE)
    spec = '"count": _spec({"masks": "data/masks"}, {"counts": "data/counts.json"}, "count")'
    edit(checkout, "tasks/graph.py", '    "describe": _spec(', f'    {spec},\n    "describe": _spec(')
    section = "class CountConfig(Section):\n    least: int = 1\n\n\n"
    root = "simpleseg_core/config/_root.py"
    edit(checkout, root, "class Config(Section):", f"{section}class Config(Section):")
    seed = "    seed: int = Field("
    edit(checkout, root, seed, f"    count: CountConfig = CountConfig()\n{seed}")
    add(checkout, "simpleseg_core/sources/squares.py", SOURCE)
    data = "simpleseg_core/config/data.py"
    edit(checkout, data, 'Source = Literal["refshapes", ', 'Source = Literal["squares", "refshapes", ')
    section = "class SquaresConfig(Section):\n    side: int = 64\n\n\n"
    edit(checkout, data, "class DataConfig(Section):", f"{section}class DataConfig(Section):")
    field = "    web: WebConfig = WebConfig()\n"
    edit(checkout, data, field, f"{field}    squares: SquaresConfig = SquaresConfig()\n")
    folder = "simpleseg_core/sources/referring"
    add(checkout, f"{folder}/_boxed.py", REFERRING)
    edit(checkout, "simpleseg_core/config/data.py", '"reasonseg"]', '"reasonseg", "boxed"]')
    case = '        case "reasonseg":\n'
    edit(checkout, f"{folder}/_read.py", case, f'        case "boxed":\n            found = read_boxed(config)\n{case}')
    import_ = "from simpleseg_core.sources.referring._boxed import read_boxed\n"
    imported = "from simpleseg_core.sources.referring._reasonseg"
    edit(checkout, f"{folder}/_read.py", imported, f"{import_}{imported}")
    (checkout / "boxed").mkdir()
    (checkout / "boxed/boxes.txt").write_text("a.png 64 48 8 8 40 24\n")
    Image.new("RGB", (64, 48)).save(checkout / "boxed/a.png")
    entry = '    Metric("mean_box", "box IoU", "%", 1, "mean IoU of the boxes", lambda o: o.box_iou, headline=True),\n'
    edit(checkout, "simpleseg_core/metrics/table.py", "_ENTRIES = (\n", f"_ENTRIES = (\n{entry}")
    file = checkout / "simpleseg_core/training/objectives/_sequence.py"
    file.write_text(file.read_text() + OBJECTIVE)
    edit(checkout, "simpleseg_core/config/training.py", '"maxrl", "gdpo"', '"maxrl", "gdpo", "reinforce"')


PROGRAMS = {
    "reward": (
        "from simpleseg_core.config.files import with_overrides\n"
        "from simpleseg_core.rewards import RewardFunction\n"
        "weights = 'rl.rewards.weights={single: 3, iou: 0, distance: 0, format: 1}'\n"
        "config = with_overrides({}, [weights], 'params.yaml')\n"
        "one, whole = '[[0,0],[500,0],[500,500]]', {'size': [8, 8], 'counts': '0P2'}\n"
        "batch = RewardFunction(config.rl.rewards)([f'[{one}]', f'[{one},{one}]'], [whole] * 2)\n"
        "print(batch.terms['single'].tolist(), batch.total.tolist(), batch.failed)"
    ),
    "engines": (
        "from pathlib import Path\n"
        "from simpleseg_core.config.files import with_overrides\n"
        "from simpleseg_core.export import Annotations\n"
        "from simpleseg_core.sources.own_images import OwnImage\n"
        "from tasks.annotate_images import annotate_images\n"
        "engines = ['detect.engine=middle', 'segment.engine=boxes', 'describe.engine=polite']\n"
        "config = with_overrides({}, engines, 'params.yaml')\n"
        "image = OwnImage(Path('blue.png'), 'blue')\n"
        "annotate_images([image], Path('annotated'), config, ['dog'], 'lines')\n"
        "(found,) = Annotations.open(Path('annotated/records')).images()\n"
        "(row,) = found.instances\n"
        "print(row['detector'], row['segmenter'], sep=' | ')"
    ),
    "stage": (
        "from pathlib import Path\n"
        "from pydantic import TypeAdapter\n"
        "from simpleseg_core.config.files import with_overrides\n"
        "from simpleseg_core.contract import Context\n"
        "from tasks.graph import STAGES, StageName, chain, load_stage\n"
        "config = with_overrides({}, ['count.least=2'], 'params.yaml')\n"
        "Path('masks').mkdir()\n"
        "[Path(f'masks/{size}').write_bytes(bytes(size)) for size in range(4)]\n"
        "outputs = {'counts': Path('counts.json')}\n"
        "result = load_stage('count')(config, {'masks': Path('masks')}, outputs, Context(Path('work')))\n"
        "name = TypeAdapter(StageName).validate_python('count')\n"
        "print(name, *chain('contour', 'describe'), result.metrics, STAGES['count'].params)"
    ),
    "architecture": (
        "from simpleseg_core.config.files import load_profile, profiles\n"
        "from simpleseg_core.models.architectures import architecture_of\n"
        "from simpleseg_core.models.nano import build_nano\n"
        "config = load_profile('twin')\n"
        "model, processor = build_nano(config.model, 0)\n"
        "print(sorted(profiles())[-1], architecture_of('twin').name, model.num_parameters() > 1e6)"
    ),
    "source": (
        "from pathlib import Path\n"
        "from simpleseg_core.config.files import with_overrides\n"
        "from simpleseg_core.contract import Context\n"
        "from simpleseg_core.data.records import INGEST, read_rows\n"
        "from tasks.ingest import run\n"
        "config = with_overrides({}, ['data.source=squares', 'data.squares.side=48'], 'params.yaml')\n"
        "run(config, {}, {'images': Path('squares/images')}, Context(Path('squares/work')))\n"
        "rows = [row for file in Path('squares/images').glob('*.parquet') for row in read_rows(file, INGEST)]\n"
        "print([(row['status'], row['width'], row['text']) for row in rows])"
    ),
    "referring": (
        "from pathlib import Path\n"
        "from simpleseg_core.config import Config\n"
        "from simpleseg_core.contract import NullProgress\n"
        "from simpleseg_core.sources.referring import read_referring, referring_gold\n"
        "sets = [{'dataset': 'boxed', 'root': 'boxed'}]\n"
        "config = Config.model_validate({'data': {'referring': sets}})\n"
        "read = [(each, read_referring(each)) for each in config.data.referring]\n"
        "gold = referring_gold(config, read, Path('packed'), NullProgress())\n"
        "(image,) = gold.benchmarks['boxed/val']\n"
        "print([each.expression for each in image.labels.references], [each.box for each in image.labels.targets])"
    ),
    "metric": (
        "from simpleseg_core.evaluation import summarise\n"
        "from simpleseg_core.metrics import HEADLINES, Predictions\n"
        "from tests.evaluation.test_summary import make_row\n"
        "rows = [make_row(0, 0.5), make_row(1, 0.25)]\n"
        "print(summarise(Predictions.from_rows(rows), samples=20)['mean_box'].mean, 'mean_box' in HEADLINES)"
    ),
    "objective": (
        "import torch\n"
        "from simpleseg_core.config.files import with_overrides\n"
        "from simpleseg_core.training.objectives import Answers, objective\n"
        "config = with_overrides({}, ['rl.objective=reinforce'], 'params.yaml')\n"
        "logps, mask = torch.full((2, 3), -1.0), torch.ones(2, 3, dtype=torch.bool)\n"
        "answers = Answers(logps, logps, mask, torch.tensor([1.0, -2.0]), 1.0, 1.0, 3, 3.0)\n"
        "print(objective(config.rl.objective).surrogate(answers).objective.tolist())"
    ),
}
"""What is added -> a program that uses it."""


@pytest.fixture(scope="module")
def said(checkout: Path, repository: Path) -> dict[str, str]:
    """What the programs print, all run by one interpreter: its imports take longer than they do."""
    _extend(checkout)
    shutil.copy(repository / "docs/samples/blue.png", checkout)
    every = "\n".join(f"print('# {name}')\n{program}" for name, program in PROGRAMS.items())
    blocks = python(checkout, every).split("# ")[1:]
    return {name: text.strip() for name, _, text in (block.partition("\n") for block in blocks)}


def test_a_reward_term_is_one_file(said: dict[str, str]) -> None:
    assert said["reward"] == "[1.0, 0.0] [1.0, 0.0] 0"


def test_engines_that_annotate_and_a_format_of_exports_are_a_file_each(said: dict[str, str], checkout: Path) -> None:
    assert said["engines"] == "middle | boxes"
    assert (checkout / "annotated/lines/lines.txt").read_text() == "the dog, please\n"


def test_a_stage_is_a_node_a_place_in_the_graph_and_a_section(said: dict[str, str]) -> None:
    assert said["stage"] == "count contour count describe {'files': 2.0} ('seed', 'count')"


def test_an_architecture_is_one_file_and_a_profile(said: dict[str, str]) -> None:
    assert said["architecture"] == "twin twin True"


def test_a_source_of_images_is_one_file_with_its_name_and_section(said: dict[str, str]) -> None:
    assert said["source"] == str([("ok", 48, "a square")])


def test_a_referring_data_set_is_a_reader_with_its_name_and_a_case(said: dict[str, str]) -> None:
    assert said["referring"] == "['the box'] [(0.125, 0.16666666666666666, 0.625, 0.5)]"


def test_a_metric_is_an_entry_of_the_table(said: dict[str, str]) -> None:
    assert said["metric"] == "37.5 True"


def test_an_objective_is_a_function_and_its_name(said: dict[str, str]) -> None:
    assert said["objective"] == "[-3.0, 6.0]"


@pytest.mark.usefixtures("said")
def test_no_contract_of_imports_has_to_name_what_is_added(checkout: Path, repository: Path) -> None:
    shutil.copy(repository / "pyproject.toml", checkout)
    done = lint(checkout)
    assert done.returncode == 0, done.stdout
