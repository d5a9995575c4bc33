"""Every public name, for a session in a notebook: `from clinical_ner.all import *`."""

from .core import *  # noqa: F403
from .samples import *  # noqa: F403
from .tags import *  # noqa: F403
from .formats import *  # noqa: F403
from .corpora import *  # noqa: F403
from .windows import *  # noqa: F403
from .encoders import *  # noqa: F403
from .inference import *  # noqa: F403
from .tagger import *  # noqa: F403
from .metrics import *  # noqa: F403
from .train import *  # noqa: F403
from .errors import *  # noqa: F403
from .plots import *  # noqa: F403
from .display import *  # noqa: F403
from .widgets import *  # noqa: F403
from .reports import *  # noqa: F403
from .bulk import *  # noqa: F403
from .onnx_export import *  # noqa: F403
from .publishing import *  # noqa: F403
from .cli import *  # noqa: F403
