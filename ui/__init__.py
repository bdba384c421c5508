"""What pages share: state, widgets, messages. The only shared code that may import streamlit."""
