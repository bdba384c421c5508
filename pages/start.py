"""Start: where you are in the loop, what to do next, and a canvas as soon as there is a network to draw for."""

import numpy as np
import streamlit as st

from core.engine import engine
from core.model import presets
from core.views import pictures
from ui import digits, guards, late_requests, messages, navigation
from ui.state import editing, runs
from ui.widgets import run_start, single_digit

st.title("Build a network. Watch it learn. Draw for it.")
st.markdown(
    "A laboratory for the small networks that read handwriting: you choose its layers, it learns from 60,000 digits before your "
    "eyes, and then it has to read yours."
)

run, own = runs.run_in_use(), runs.chosen_run()
progress = None
with messages.shown():
    progress = engine.shared().progress(run) if run else None

if own is None:  # above what comes late and takes room, or it would be moved from under a finger
    if st.button("Train my first network", type="primary", icon=":material/play_arrow:"):
        editing.use_preset(presets.FAST_99.name)
        run_start.start_training(editing.draft())
        late_requests.switch_page(navigation.TRAIN)
    st.caption(f"It will be *{presets.FAST_99.name}*. {presets.FAST_99.about}")

if progress is not None and progress.history:
    with messages.shown():
        single_digit.use_canvas()
        single_digit.draw_and_read(guards.network_of(run, progress))
else:
    dataset = digits.dataset()
    chosen = np.random.default_rng(7).choice(len(dataset.x_train), 4 * 24, replace=False)
    st.image(  # as a URL that holds it: a file of its own may be gone before a browser that goes on at once has fetched it
        pictures.data_url(pictures.png(pictures.sheet(dataset.x_train[chosen], columns=24), scale=2)),
        width="stretch",
        alt="Ninety-six handwritten digits from the data set.",
    )

run_start.steps(progress if own else None)
