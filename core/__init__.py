"""The lab itself: specs, data, training, evaluation. Never imports streamlit."""
