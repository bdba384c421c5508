"""The lab itself. A plain Python shell is enough to use it: nothing here knows Streamlit.

Its rooms, each of which may import those before it: `errors`, `model`, `ink`, `runs`, `data`, `evaluation`, `explain`, `training`,
`engine`, `views`, `shipped`.
"""
