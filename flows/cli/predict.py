"""`simpleseg predict`: ask a trained model for the outline of something in an image."""

import os
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flows.cli.console import FAILED, AsJson, bad_input, err, fail, out
from simpleseg_core.config import Config
from simpleseg_core.config.files import load_config
from simpleseg_core.names import did_you_mean
from tasks.graph import STAGES
from tasks.hub import is_hub_id
from tasks.runs.workspace import NoWorkspaceError, Workspace

if TYPE_CHECKING:
    from tasks.predict import Prediction

EXAMPLES = """\
Examples:

  simpleseg predict docs/samples/blue.png "all blue shapes" --model nano-base

  simpleseg predict photo.jpg "the leftmost person" --out overlay.png --model sft

  simpleseg predict photo.jpg --point 0.4,0.6           what is at a point (x,y in 0..1, y down)

  simpleseg predict photo.jpg --bbox 0.1,0.2,0.5,0.9 --json
"""
_SHAPES_ONLY = (
    "this model is trained on the coloured shapes of RefShapes alone: of photographs it knows nothing, whatever it says"
)


def predict(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    text: Annotated[str, typer.Argument(help='What to outline, such as "the red circle".')] = "",
    point: Annotated[str | None, typer.Option(metavar="X,Y", help="A point inside the object, in 0..1.")] = None,
    bbox: Annotated[str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="A box around the object, in 0..1.")] = None,
    out_file: Annotated[Path, typer.Option("--out", help="Where to write the image with the outline drawn.")] = Path(
        "overlay.png"
    ),
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FOLDER",
            help="One of evaluate.models, pretrain, nano-base (shipped), or a folder with a checkpoint.",
        ),
    ] = "rl",
    as_json: AsJson = False,
) -> None:
    """Outline what a text, a point or a box refers to."""
    text = text.strip()
    with bad_input():
        workspace = _workspace()
        config = load_config(workspace.params) if workspace else Config()
        if not image.is_file():
            raise ValueError(f"{image}: no such image file")
        _check_output(out_file)
        if sum((bool(text), point is not None, bbox is not None)) != 1:
            raise ValueError('say what to outline in one way: a text ("red circle"), --point X,Y or --bbox X1,Y1,X2,Y2')
        where = _numbers("--point", point, 2), _box("--bbox", bbox)
        folder = _model_folder(workspace, model, config)
    from tasks.predict import knows_only_shapes, predict_image

    with bad_input():
        if knows_only_shapes(folder):
            err.print(f"[dim]{_SHAPES_ONLY}[/]", soft_wrap=True)
        prediction = predict_image(image, text, where[0], where[1], folder, config)
        _save(prediction, out_file)
    if as_json:
        out.print_json(data=_as_json(prediction, folder, out_file), highlight=False)
    else:
        _show(prediction, out_file)
    if prediction.error:
        raise fail(f"the answer cannot be read as polygons: {prediction.error}", FAILED)


def _workspace() -> Workspace | None:
    """The working copy, if the current folder belongs to one."""
    try:
        return Workspace.find()
    except NoWorkspaceError:
        return None


def _numbers(option: str, text: str | None, count: int) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(0 <= value <= 1 for value in values):
        raise ValueError(f"{option} {text}: expected {count} numbers in 0..1 with commas between, x first, y down")
    return values


def _box(option: str, text: str | None) -> tuple[float, ...] | None:
    box = _numbers(option, text, 4)
    if box is not None and (box[0] >= box[2] or box[1] >= box[3]):
        raise ValueError(f"{option} {text}: the box holds nothing: give its left, top, right, bottom, in this order")
    return box


def _places(root: Path, model: str, config: Config) -> Iterator[Path]:
    """Folders of a working copy that a model may be meant by; those under test come first."""
    from simpleseg_core.evaluation.models import model_folder

    trained = {name: root / spec.outputs["model"] for name, spec in STAGES.items() if spec.trains}
    for each in config.evaluate.models:
        if each.name == model and each.has_weights:
            with suppress(FileNotFoundError) if each.kind == "stage" else nullcontext():
                yield model_folder(each, trained, root)
    yield from (root / "models" / model, root / "checkpoints" / model)


def _model_folder(workspace: Workspace | None, model: str, config: Config) -> Path:
    root = workspace.root if workspace else Path()
    for folder in chain(_places(root, model, config) if workspace else (), [Path(model)]):
        if (folder / "config.json").is_file():
            return folder
    fetch = (
        f"; a model of the hub is fetched first: `hf download {model} --local-dir FOLDER`" if is_hub_id(model) else ""
    )
    if workspace is None:
        cure = f"outside a working copy name a folder with one{fetch}"
        raise ValueError(f"--model {model}: no checkpoint of that name; {cure}")
    trained = sorted(each.parent.name for each in (root / "models").glob("*/config.json"))
    have = f"trained here: {', '.join(trained)}" if trained else "nothing is trained here yet: `simpleseg run`"
    meant = did_you_mean(model, [*trained, "nano-base"])
    raise ValueError(
        f"--model {model}: no checkpoint of that name{meant}; {have}; `--model nano-base` is shipped{fetch}"
    )


def _check_output(file: Path) -> None:
    """Whether a picture can be written there, before anything is loaded.

    Raises:
        ValueError: not the name of a picture, or a folder that is not there or may not be written to.
    """
    from PIL import Image

    if Image.registered_extensions().get(file.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"--out {file}: not the name of a picture; end it in .png or .jpg")
    if not file.parent.is_dir() or file.is_dir():
        raise ValueError(f"--out {file}: {'a folder' if file.is_dir() else 'its folder is not there'}; name a file")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ValueError(f"--out {file}: may not be written; name another file")


def _save(prediction: "Prediction", file: Path) -> None:
    from PIL import Image

    Image.fromarray(prediction.overlay).save(file)


def _show(prediction: "Prediction", file: Path) -> None:
    out.print(f"question  {escape(prediction.question)}\nanswer    {escape(prediction.answer)}", soft_wrap=True)
    if not prediction.error:
        out.print(f"polygons  {len(prediction.polygons)}" if prediction.polygons else "nothing there, says the model")
    out.print(f"overlay   {escape(str(file))}")


def _as_json(prediction: "Prediction", folder: Path, file: Path) -> dict[str, object]:
    """Coordinates are normalised: x right, y down, on pixel edges of the upright image."""
    return {
        "question": prediction.question,
        "answer": prediction.answer,
        "polygons": [polygon.tolist() for polygon in prediction.polygons],
        "error": prediction.error,
        "model": str(folder),
        "overlay": str(file),
    }
