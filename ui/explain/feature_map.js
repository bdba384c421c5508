// A feature map beside the digit: the unit under the pointer or the keyboard's cursor shows its window there and is told to the
// page, a click or Enter chooses it. Runs in the page, as a component.
const EVERY = 90; // milliseconds between two tellings
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export default function ({ data, parentElement, setTriggerValue }) {
  const map = parentElement.querySelector(".map");
  const view = (map.view ??= begin(parentElement, map)); // kept over new data, as are focus and cursor
  view.send = setTriggerValue;
  view.look(data);
  return view.end;
}

function begin(parent, map) {
  const digit = parent.querySelector(".digit"), line = parent.querySelector(".line");
  let data = null, pointed = null; // the unit under the pointer or the cursor
  let told = null, toldAt = 0, timer = null;
  const view = { end: () => clearTimeout(timer) };

  const isThere = ([row, column]) => row in data.rows && column in data.columns;

  const frame = (box, [top, bottom], [left, right], [height, width]) => {
    const [x, y, wide, tall] = [left / width, top / height, (right - left) / width, (bottom - top) / height];
    box.style.left = `${100 * x}%`;
    box.style.top = `${100 * y}%`;
    box.style.width = `calc(${100 * wide}% + 2px)`;
    box.style.height = `calc(${100 * tall}% + 2px)`;
  };

  const place = (k, unit) => {
    const [onMap, onDigit] = [map, digit].map((each) => each.querySelectorAll("b")[k]);
    onMap.hidden = onDigit.hidden = !unit;
    if (!unit) return;
    const [row, column] = unit, { rows, columns, side } = data;
    frame(onMap, [row, row + 1], [column, column + 1], [rows.length, columns.length]);
    frame(onDigit, rows[row], columns[column], [side, side]);
  };

  const draw = () => {
    place(0, data.chosen);
    place(1, pointed);
    const [row, column] = pointed ?? data.chosen;
    line.textContent =
      `row ${row}, column ${column}: ${data.values[row][column]}, sees ${data.rows[row][2]} and ${data.columns[column][2]}`;
  };

  // The first move of a burst is told at once, the last at its end; when the pointer leaves, the chosen unit is.
  const tell = () => {
    clearTimeout(timer);
    const unit = pointed ?? data.chosen, wait = toldAt + EVERY - performance.now();
    if (String(unit) === String(told)) return;
    if (wait > 0) return void (timer = setTimeout(tell, wait));
    [told, toldAt] = [unit, performance.now()];
    view.send("pointed", unit);
  };

  const point = (unit, isByKey = false) => {
    pointed = unit;
    line.ariaLive = isByKey ? "polite" : "off"; // a pointer crosses too many units to have them read out
    draw();
    tell();
  };

  const choose = (unit) => {
    clearTimeout(timer);
    data = { ...data, chosen: unit }; // framed at once; the page's answer says the same
    draw();
    view.send("chosen", unit);
  };

  const under = (event) => {
    const box = map.getBoundingClientRect();
    const share = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
    const unit = [data.rows.length, data.columns.length].map((count, axis) => Math.floor(count * share[axis]));
    return isThere(unit) ? unit : null;
  };

  map.onpointerdown = map.onpointermove = (event) => point(under(event));
  map.onpointerleave = () => point(null);
  map.onclick = (event) => {
    const unit = under(event);
    if (unit) choose(unit);
  };
  map.onkeydown = (event) => {
    const at = pointed ?? data.chosen, arrow = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow) {
      const next = at.map((k, axis) => k + arrow[axis]);
      point(isThere(next) ? next : at, true);
    } else if (event.key === "Enter" || event.key === " ") choose(at);
    else if (event.key === "Escape") point(null, true);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the page has keys of its own
  };
  map.onblur = () => point(null);

  view.look = (given) => {
    data = given;
    told = data.workedOut;
    const [height, width] = [data.rows.length, data.columns.length];
    map.style.width = `${(data.size * width) / Math.max(height, width)}px`;
    map.style.aspectRatio = `${width} / ${height}`;
    map.setAttribute("aria-label", `${data.said} ${data.seen}`);
    digit.setAttribute("aria-label", data.seen);
    map.querySelector("img").src = data.map;
    digit.querySelector("img").src = data.digit;
    if (pointed && !isThere(pointed)) pointed = null; // a smaller map
    draw();
  };
  return view;
}
