"""What the first page of a new server does not wait for."""

import subprocess
import sys
from pathlib import Path

from streamlit import delta_generator
from streamlit.components.v2.bidi_component import serialization

ROOT = Path(__file__).parents[2]
PLAIN = """
import sys
from streamlit.components.v2.bidi_component import serialization
from ui import lean_start
if len(sys.argv) > 1:
    lean_start.prepare()
data = {"order": {"objects": []}, "widths": [1, 2], "pen": "Medium"}
assert serialization._extract_dataframes_from_dict(data) == data
print("pandas" in sys.modules)
"""


def has_loaded_pandas(*prepared: str) -> bool:
    """Whether a process has loaded pandas once it has looked through a component's data."""
    command = [sys.executable, "-c", PLAIN, *prepared]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


def test_pandas_is_not_loaded_for_a_components_data():
    assert not has_loaded_pandas("prepared")
    assert has_loaded_pandas()  # once it isn't any more, this part of the module has had its day


def test_what_it_changes_is_there():
    assert serialization.is_dataframe_like is not None
    assert delta_generator._use_warning_has_been_displayed in (True, False)
