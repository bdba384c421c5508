export default function ({ data, parentElement, setTriggerValue }) {
  const strip = parentElement.querySelector(".strip");
  const shown = JSON.stringify(data);
  strip.choose = (id) => setTriggerValue("chosen", id);
  if (strip.shown === shown) return;
  strip.shown = shown;
  strip.setAttribute("aria-label", data.label);
  strip.replaceChildren(...data.items.map(({ id, src, caption, said }) => {
    const button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    button.setAttribute("aria-label", said);
    image.src = src;
    image.alt = "";
    button.append(image, caption);
    button.onclick = () => strip.choose(id);
    return button;
  }));
}
