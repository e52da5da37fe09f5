"""edgechat: an offline terminal chat for MLflow ONNX models.

Importing the package does nothing: no other module is loaded, no file is touched. `edgechat.__main__` is the way in.
"""

from __future__ import annotations

__version__ = "0.1.0"
