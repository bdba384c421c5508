"""Evaluate: how good the network in use is, where it errs, how sure it is, and what breaks it."""

import streamlit as st

from core.evaluation import metrics
from ui import digits, guards
from ui.evaluate import break_it, comparison, report

st.title("Evaluate")
network = guards.trained_network("is tested here")
dataset = digits.dataset()

source = report.choose_source(dataset, network)
answers = report.answers(network, source)
matrix = metrics.confusion_matrix(answers.y_true, answers.probabilities.argmax(axis=1))
run = network.run
key = f"{run.id}-{network.step}-{source}"

report.figures(answers, matrix)
report.mistakes(dataset, answers, run, source)
report.scores(matrix, key)
report.certainty(answers, key)
report.download(answers, matrix, run, source)
other = comparison.other_run(run)
if other is not None:
    comparison.verdict(answers, source, other)
break_it.panel(network, other)
