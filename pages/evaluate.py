"""Evaluate: what the test set says about the network in use, and the digits behind every number."""

import streamlit as st

from core import evaluation
from ui import digits, guards, report

st.title("Evaluate")
run, epoch = guards.trained_run("is tested here")
dataset = digits.dataset()
answers = report.answers(run, epoch)

matrix = evaluation.confusion_matrix(answers.y_true, answers.probabilities.argmax(axis=1))
report.figures(answers, matrix)
picture, gallery = st.columns([3, 2], gap="large")
with picture:
    cell = report.matrix(matrix, run, epoch)
with gallery:
    report.gallery(dataset, answers, cell)
report.scores(evaluation.class_scores(matrix))
