"""Everything that knows Streamlit. Here stands the frame around every page; `state` is what a session remembers, `widgets` what
two pages or more share, and a folder of a page's name its content, which that page alone imports.
"""
