"""What a running stage reports, carried to MLflow in the background, and what the machine does meanwhile."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from simpleseg_core.config import TrackingConfig
from simpleseg_core.journal import Journal
from tasks.runs.curves import Curves
from tasks.runs.tracking.delivery import Delivery, send_set_aside
from tasks.runs.tracking.store import Store
from tasks.runs.workspace import Workspace

_log = logging.getLogger(__name__)
_FLUSH_S = 2.0
_CURVES_S = 15.0
_PATIENCE_S = 60.0
"""How long the end of a stage waits for what is on its way."""


class _Shipper(threading.Thread):
    """Connects to MLflow, as often as it takes, and sends what stands in the journal."""

    def __init__(self, workspace: Workspace, tracking: TrackingConfig, journal: Journal, curves: "_Collector") -> None:
        super().__init__(name="mlflow-shipper", daemon=True)
        self._workspace, self._tracking, self._journal, self._curves = workspace, tracking, journal, curves
        self.ending = threading.Event()
        self._delivery: Delivery | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._warned = False

    def run(self) -> None:
        last = False
        while not last:
            last = self.ending.wait(_FLUSH_S if self._delivery or self._warned else 0)
            if last and self._monitor:
                self._monitor.finish()
            self._send()
            self._curves.write_at_times()

    def _send(self) -> None:
        try:
            self._delivery = self._delivery or self._connected()
            self._delivery.send()
            if self._tracking.system_metrics and self._monitor is None and not self.ending.is_set():
                self._monitor = _monitor(self._delivery.run_id, self._tracking_uri)
        except Exception as error:
            if not self._warned:
                _log.warning("MLflow takes nothing now, what the stage reports is kept and sent later: %s", error)
            self._warned = True

    def _connected(self) -> Delivery:
        store = Store.open(self._workspace, self._tracking)
        self._tracking_uri = store.client.tracking_uri
        send_set_aside(store, self._workspace.tracking_set_aside)
        return Delivery(store, self._journal)


class _Collector:
    """The points of a journal as curves in a file, read on from where it was."""

    def __init__(self, journal: Journal, curves: Curves) -> None:
        self._journal, self._curves = journal, curves
        self._lock = threading.Lock()
        self._offset, self._written_at = 0, time.monotonic()

    def write_at_times(self) -> None:
        if time.monotonic() - self._written_at > _CURVES_S:
            self.write()

    def write(self) -> None:
        with self._lock:
            self._written_at = time.monotonic()
            for offset, event in self._journal.read(self._offset, limit=None):
                self._offset = offset
                if event.get("metrics"):
                    self._curves.add(event["step"], event["metrics"])
            if self._curves.rows:
                self._curves.write()


@contextmanager
def shipping(workspace: Workspace, tracking: TrackingConfig, journal: Journal, curves: Curves) -> Iterator[None]:
    """Send a journal while the block runs, and what is left of it when it ends; with MLflow away it stays kept."""
    collector = _Collector(journal, curves)
    shipper = _Shipper(workspace, tracking, journal, collector)
    shipper.start()
    try:
        yield
    finally:
        shipper.ending.set()
        shipper.join(_PATIENCE_S)
        collector.write()


def _monitor(run_id: str, uri: str) -> SystemMetricsMonitor:
    monitor = SystemMetricsMonitor(run_id, sampling_interval=5, resume_logging=True, tracking_uri=uri)
    monitor.start()
    return monitor
