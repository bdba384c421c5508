"""Digits damaged more and more, and how long a network still classifies them correctly."""

from __future__ import annotations

import streamlit as st

from core.evaluation import robustness
from core.evaluation.questions import BreakIt
from core.evaluation.robustness import DAMAGES, SEVERITIES
from core.runs.contents import Robustness
from core.runs.network import Network
from core.views import charts, pictures
from ui import cached, messages
from ui.state import runs, session
from ui.widgets import waiting

HERE = "this network"


def panel(network: Network, other: tuple[Network, str] | None) -> None:
    """Show the accuracy under nine kinds of damage, beside that of another run if one is chosen."""
    st.subheader("Break it", anchor=False)
    st.caption(
        f"{len(DAMAGES)} kinds of damage, {SEVERITIES} severities each, on up to {robustness.MOST_IMAGES:,} test digits, always "
        "the same ones."
    )
    measured = _measured(network, HERE)
    others = _measured(*other) if other is not None else None
    if measured is None:
        return
    shown = [(HERE, measured), *([(other[1], others)] if others is not None else [])]
    _figures(measured, others)
    st.plotly_chart(
        charts.robustness_curves(shown),
        key=f"robustness-{network.run.id}-{network.step}",
        config={"displayModeBar": False},
        alt=". ".join(
            f"{name}, from undamaged to worst: "
            + "; ".join(
                f"{damage.name} {', '.join(f'{share:.0%}' for share in [one.clean, *one.accuracy[kind]])}"
                for kind, damage in enumerate(DAMAGES)
            )
            for name, one in shown
        ),
    )
    st.fragment(_digits)(measured, f"{network.run.id}-{network.step}")


def _measured(network: Network, name: str) -> Robustness | None:
    """Return a network's robustness if it is known; otherwise show how to measure it."""
    with messages.shown():
        question, is_open = BreakIt(network), runs.is_test_open(network)
        found = cached.robustness(network) if is_open else None
        if found is not None:
            return found
        if not session.is_wanted(question, False):
            st.button(
                "Break it" if name == HERE else f"Break {messages.name(name)} too",
                type="primary" if name == HERE else "secondary",
                icon=":material/broken_image:",
                help=None if is_open else "It takes test digits, so it counts as opening the test set.",
                on_click=_begin,
                args=(network,),
                key=f"break-{network.run.id}",
            )
            return None
        said = "It reads damaged digits" if name == HERE else f"{messages.name(name)} reads damaged digits"
        return waiting.result(question, f"break-{network.run.id}", said, "Break it")
    return None


def _begin(network: Network) -> None:
    with messages.kept():
        runs.open_test(network)
        session.want(BreakIt(network), True)


def _figures(measured: Robustness, others: Robustness | None) -> None:
    """Show one number for the whole, and the figures beside it."""
    row = st.grid(min_column_width=150)
    score, kind = robustness.score(measured), robustness.weakest(measured)
    apart = (
        f"{100 * (score - robustness.score(others)):+.1f} points"
        if others is not None
        else f"{measured.images:,} digits"
    )
    row.metric(
        "Robustness",
        f"{score:.1%}",
        apart,
        delta_color="off" if others is None else "normal",
        delta_arrow="off" if others is None else "auto",
        help="The mean accuracy over all kinds of damage and all their severities; below it, how far above the other run's.",
        border=True,
    )
    row.metric(
        "As they are",
        f"{measured.clean:.1%}",
        "undamaged",
        delta_color="off",
        delta_arrow="off",
        help="The same digits without damage.",
        border=True,
    )
    row.metric(
        "Hurt most by",
        DAMAGES[kind].name.lower(),
        f"{measured.accuracy[kind].mean():.0%} on average",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )


def _digits(measured: Robustness, key: str) -> None:
    """Show one kind of damage at each severity, with the predictions."""
    names = [damage.name for damage in DAMAGES]
    chosen = st.pills(
        "Look at",
        names,
        default=names[robustness.weakest(measured)],
        required=True,
        key=f"damage-{key}",
        wrap=True,
    )
    kind = names.index(chosen)
    damage = DAMAGES[kind]
    captions = [
        f"as it is · {measured.clean:.0%}",
        *(
            f"{damage.text(severity)} · {share:.0%}"
            for severity, share in zip(damage.severities, measured.accuracy[kind], strict=True)
        ),
    ]
    st.caption(f"{damage.name}: {damage.said}. Beside each severity its accuracy; below a digit what it was taken for.")
    with st.container(key="damaged"):
        st.html(pictures.damaged_digits(measured.samples[kind], measured.labels, measured.readings[kind], captions))
