"""The one door to `st.session_state` and to the page's address.

May use `core`. No other room names a key of the session.
"""
