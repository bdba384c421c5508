// A picture from the clipboard, by Ctrl+V anywhere on the page or by a button. Runs in the page, as a component.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const button = parentElement.querySelector("button"), status = parentElement.querySelector("span");
  const say = (said) => (status.textContent = said);

  const give = (file) => {
    if (!file) return say("There is no picture in the clipboard.");
    const connection = document.querySelector("[data-testid=stApp]")?.getAttribute("data-test-connection-state");
    if (connection !== "CONNECTED") return say("The connection is away just now. Paste it again once the page is connected.");
    if (file.size > data.most * 1e6) return say(`The picture is larger than ${data.most} MB. Save it smaller.`);
    const reader = new FileReader();
    reader.onload = () => {
      say("");
      setTriggerValue("pasted", reader.result);
    };
    reader.onerror = () => say("The picture can't be read.");
    reader.readAsDataURL(file);
  };

  const pasted = (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return; // text, which belongs to a field
    event.preventDefault();
    give(files.find((file) => file.type.startsWith("image/")));
  };

  button.onclick = async () => {
    try {
      for (const item of await navigator.clipboard.read()) {
        const kind = item.types.find((type) => type.startsWith("image/"));
        if (kind) return give(await item.getType(kind));
      }
      give(null);
    } catch {
      say("The browser doesn't let a button read the clipboard here. Press Ctrl+V instead.");
    }
  };

  button.stop?.();
  document.addEventListener("paste", pasted);
  button.stop = () => document.removeEventListener("paste", pasted);
  return () => button.stop?.();
}
