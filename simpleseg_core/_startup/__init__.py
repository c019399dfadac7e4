"""What every interpreter of the environment does first: quiet, no proxy to itself, torchvision that loads, old names.

`simpleseg.pth`, installed beside this package, imports it at start-up, so that Ray's and vLLM's workers and plain
`dvc`, `mlflow` and `prefect` commands behave like our own. Only the standard library may be imported here.
"""

from simpleseg_core import environment
from simpleseg_core._startup import moved, torchvision

environment.silence_telemetry()
environment.bypass_proxies()
torchvision.install()
moved.install()
