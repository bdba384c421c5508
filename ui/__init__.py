"""Everything that knows Streamlit. The frame around every page stands here; `state` is what a session remembers,
`widgets` what two pages or more share, and a folder with a page's name holds its content, which that page alone
imports."""
