"""From the journal of a run to MLflow: what MLflow does not take now is kept, and sent later."""

import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import Metric, RunTag
from PIL import Image

from simpleseg_core.files import read_state, write_json
from simpleseg_core.journal import Journal
from tasks.runs.kept import sent_file
from tasks.runs.lock import BusyError, alone
from tasks.runs.tracking.store import BATCH, Store, clean_name

Event = Mapping[str, Any]
_log = logging.getLogger(__name__)


def send_set_aside(store: Store, folder: Path) -> None:
    """Send the runs that were set aside in a folder, and forget them."""
    if not folder.is_dir():
        return
    with suppress(BusyError), alone(folder / "lock", "sending"):
        for each in sorted(path for path in folder.iterdir() if path.is_dir()):
            Delivery(store, Journal(each)).send()
            shutil.rmtree(each)


class Delivery:
    """A journal on its way to one run of a store; a store that does not know the run, a new one, gets the whole."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store, self._journal = store, journal
        place = read_state(sent_file(journal))
        self.run_id = str(place.get("run_id") or "")
        self._offset = int(place.get("offset", 0))
        if not store.exists(self.run_id):
            self.run_id, self._offset = "", 0

    def send(self) -> None:
        """Bring the run up to date.

        Raises:
            Exception: MLflow does not take something now; what it has taken is noted.
        """
        while batch := list(self._journal.read(self._offset)):
            for is_points, group in groupby(batch, lambda item: "metrics" in item[1]):
                if is_points:
                    items = list(group)
                    self._points([event for _, event in items])
                    self._note(items[-1][0])
                else:
                    for offset, event in group:
                        self._tell(event)
                        self._note(offset)

    def _note(self, offset: int) -> None:
        self._offset = offset
        write_json(sent_file(self._journal), {"run_id": self.run_id, "offset": offset})

    def _tell(self, event: Event) -> None:
        if "run" in event:
            self._open(event)
        elif "headline" in event:
            self._headline(event)
        elif "image" in event:
            self._image(event)
        elif "file" in event:
            self._file(event)
        elif "text" in event:
            self._store.client.log_text(self.run_id, event["text"], event["artifact"])
        elif "tags" in event:
            tags = [RunTag(key, value) for key, value in event["tags"].items()]
            self._store.client.log_batch(self.run_id, tags=tags)
        elif "end" in event:
            self._store.client.set_terminated(self.run_id, event["end"], event["time_ms"])

    def _open(self, event: Event) -> None:
        if self.run_id:
            self._store.reopen(self.run_id, event["tags"])
        else:
            self.run_id = self._store.start(event["run"], event["tags"], event["time_ms"])
            self._note(self._offset)
        self._store.params(self.run_id, event["params"])
        self._store.inputs(self.run_id, event["inputs"])
        self._store.client.log_text(self.run_id, event["config"], "params.yaml")

    def _points(self, events: list[Event]) -> None:
        metrics = [
            Metric(clean_name(key), value, event["time_ms"], event["step"])
            for event in events
            for key, value in event["metrics"].items()
        ]
        for at in range(0, len(metrics), BATCH):
            self._store.client.log_batch(self.run_id, metrics=metrics[at : at + BATCH])

    def _headline(self, event: Event) -> None:
        run_id = event.get("parent", self.run_id)
        if "parent" not in event or self._store.exists(run_id):
            self._store.numbers(run_id, event["headline"], event.get("step", 0))

    def _image(self, event: Event) -> None:
        file = self._journal.picture(event["file"])
        if not file.exists():  # sent just before a crash, or to a store that is gone
            return
        try:
            pixels = np.asarray(Image.open(file))
        except (OSError, SyntaxError, ValueError) as error:  # Pillow's, for one that a crash has left half written
            _log.warning("a picture that cannot be read is left out: %s", error)
            return
        self._store.client.log_image(
            self.run_id, pixels, key=clean_name(event["image"]), step=event["step"], timestamp=event["time_ms"]
        )
        file.unlink()

    def _file(self, event: Event) -> None:
        file = self._journal.picture(event["file"])
        if file.exists():
            self._store.client.log_artifact(self.run_id, str(file), event.get("artifact"))
            file.unlink()
