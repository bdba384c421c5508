"""The memory of a visitor's session: a small dataclass per module, its parts, with the functions that read and change
them.

`session.py` is the one door to `st.session_state` and to the page's address, and keeps the parts; `visit.py` keeps what
outlasts the session. May use `core`. No other room names a key of the session.
"""
