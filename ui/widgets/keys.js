// Keeps a key for what has the focus where it means something there: the page's shortcuts listen on the document, one step further
// out than this, and Streamlit has those with Ctrl or Alt act from within a text field too. Ctrl + Enter is no field's own.
const FIELD = "textarea, [contenteditable=true], input:not([type=checkbox], [type=radio], [type=range], [type=button], [type=file])";
const MOVED_BY_KEYS = "[role=slider], [role=radio], [role=tab], [role=option], [role=menuitem], [type=range], [type=radio], select";

function keep(event) {
  const focused = event.composedPath()[0], isCommand = event.ctrlKey || event.metaKey;
  const isTyped = focused.closest?.(FIELD) && !(isCommand && event.key === "Enter");
  const isMove = focused.closest?.(MOVED_BY_KEYS) && !isCommand && !event.altKey;
  if (isTyped || isMove) event.stopPropagation();
}

export default function () {
  document.body.addEventListener("keydown", keep);
  return () => document.body.removeEventListener("keydown", keep);
}
