"""`simpleseg predict`: ask a trained model for the outline of something in an image."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.cli.console import FAILED, bad_input, fail, out
from simpleseg_core.config.files import load_config
from tasks.workspace import Workspace

EXAMPLES = """\
Examples:

  simpleseg predict photo.jpg "red circle"

  simpleseg predict photo.jpg "the leftmost person" --out overlay.png --model sft

  simpleseg predict photo.jpg --point 0.4,0.6           what is at a point (x,y in 0..1, y down)

  simpleseg predict photo.jpg --bbox 0.1,0.2,0.5,0.9
"""


def predict(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    text: Annotated[str, typer.Argument(help='What to outline, such as "the red circle".')] = "",
    point: Annotated[str | None, typer.Option(metavar="X,Y", help="A point inside the object, in 0..1.")] = None,
    bbox: Annotated[str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="A box around the object, in 0..1.")] = None,
    out_file: Annotated[Path, typer.Option("--out", help="Where to write the image with the outline drawn.")] = Path(
        "overlay.png"
    ),
    model: Annotated[
        str, typer.Option(metavar="NAME|FOLDER", help="pretrain, sft, rl, or a folder with a checkpoint.")
    ] = "rl",
) -> None:
    """Outline what a text, a point or a box refers to."""
    with bad_input():
        workspace = Workspace.find()
        config = load_config(workspace.params)
        if not image.is_file():
            raise ValueError(f"{image}: no such image file")
        if sum((bool(text), point is not None, bbox is not None)) != 1:
            raise ValueError('say what to outline in one way: a text ("red circle"), --point X,Y or --bbox X1,Y1,X2,Y2')
        where = _numbers("--point", point, 2), _numbers("--bbox", bbox, 4)
        folder = _model_folder(workspace, model)
    from PIL import Image

    from simpleseg_core.predict import predict_image

    with bad_input():
        prediction = predict_image(image, text, where[0], where[1], folder, config)
    out.print(f"question  {escape(prediction.question)}\nanswer    {escape(prediction.answer)}", soft_wrap=True)
    if prediction.error:
        raise fail(f"the answer cannot be read as polygons: {prediction.error}", FAILED)
    with bad_input():
        Image.fromarray(prediction.overlay).save(out_file)
    out.print(f"polygons  {len(prediction.polygons)}" if prediction.polygons else "nothing there, says the model")
    out.print(f"overlay   {escape(str(out_file))}")


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


def _model_folder(workspace: Workspace, model: str) -> Path:
    folder = workspace.root / "models" / ("pretrain" if model == "base" else model)
    if not folder.is_dir():
        folder = Path(model)
    if not (folder / "config.json").is_file():
        trained = sorted(each.parent.name for each in (workspace.root / "models").glob("*/config.json"))
        have = f"trained here: {', '.join(trained)}" if trained else "nothing is trained here yet: `simpleseg run`"
        raise ValueError(f"--model {model}: no checkpoint of that name; {have}")
    return folder
