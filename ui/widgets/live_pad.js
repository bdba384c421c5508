// A square to draw on by mouse, finger or keyboard. Tells its strokes while they are drawn. Runs in the page, as a component.
const EVERY = 90; // milliseconds between two tellings
const NEAR = 0.004; // of the side: points closer to the last one are left out
const STEP = 0.04, SMALL_STEP = 0.01;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const canvas = parentElement.querySelector("canvas");
  const pad = (canvas.pad ??= begin(parentElement, canvas));
  pad.send = (strokes) => setStateValue("drawing", strokes);
  pad.look(data);
  return pad.end;
}

function begin(parent, canvas) {
  let strokes = [], past = [], future = [], order = null, data = null; // lists of strokes, to undo and to redo
  let pointer = null, isKeyDown = false, isKeyed = false, cursor = [0.5, 0.25];
  let timer = null, told = 0, size = 0;
  const said = parent.querySelector(".said");
  const buttons = Object.fromEntries([...parent.querySelectorAll("button")].map((button) => [button.dataset.act, button]));
  const pad = {};

  const draw = () => {
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, size, size);
    if (!data) return;
    pen.strokeStyle = pen.fillStyle = data.ink;
    pen.lineWidth = data.pen * size;
    pen.lineCap = pen.lineJoin = "round";
    for (const stroke of strokes) {
      pen.beginPath();
      stroke.forEach(([x, y], k) => (k ? pen.lineTo(x * size, y * size) : pen.moveTo(x * size, y * size)));
      if (stroke.length === 1) pen.lineTo(stroke[0][0] * size + 0.01, stroke[0][1] * size);
      pen.stroke();
    }
    if (isKeyed) {
      const style = getComputedStyle(canvas);
      pen.lineWidth = 2;
      pen.strokeStyle = style.getPropertyValue("--st-text-color") || "#888";
      pen.fillStyle = isKeyDown ? pen.strokeStyle : "transparent";
      pen.beginPath();
      pen.arc(cursor[0] * size, cursor[1] * size, (data.pen * size) / 2, 0, 7);
      pen.stroke();
      pen.globalAlpha = 0.4;
      pen.fill();
      pen.globalAlpha = 1;
    }
  };

  // Only while the pen is up: ten answers a second are too many to be read out.
  const speak = () => {
    if (data && pointer === null && !isKeyDown && said.textContent !== data.said) said.textContent = data.said;
  };

  const refresh = () => {
    speak();
    buttons.clear.disabled = !strokes.length;
    buttons.undo.disabled = !past.length;
    buttons.redo.disabled = !future.length;
    const pen = isKeyed ? (isKeyDown ? " The pen is down." : " The pen is up.") : "";
    canvas.setAttribute("aria-label", `A pad to draw one digit on: ${strokes.length} strokes.${pen}`);
    draw();
  };

  // The first change of a burst is told at once, the last at its end.
  const tell = (isAtOnce) => {
    const wait = told + EVERY - performance.now();
    if (wait > 0 && !isAtOnce) return void (timer ??= setTimeout(() => tell(true), wait));
    clearTimeout(timer);
    timer = null;
    told = performance.now();
    pad.send(strokes.map((stroke) => stroke.map(([x, y]) => [+x.toFixed(4), +y.toFixed(4)])));
  };

  const changed = (isAtOnce) => {
    refresh();
    tell(isAtOnce);
  };

  const show = (other) => ((strokes = other), lift(), changed(true));
  const acts = {
    undo: () => past.length && (future.push(strokes), show(past.pop())),
    redo: () => future.length && (past.push(strokes), show(future.pop())),
    clear: () => strokes.length && (past.push(strokes), (future = []), show([])),
  };
  const lift = () => ((isKeyDown = false), (pointer = null));

  const lower = (point) => {
    past.push(strokes);
    [strokes, future] = [[...strokes, []], []];
    add(point);
  };

  const add = ([x, y]) => {
    const point = [Math.min(Math.max(x, 0), 1), Math.min(Math.max(y, 0), 1)];
    const stroke = strokes.at(-1), last = stroke.at(-1);
    if (last && Math.hypot(point[0] - last[0], point[1] - last[1]) < NEAR) return false;
    stroke.push(point);
    return true;
  };

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };

  canvas.onpointerdown = (event) => {
    if (event.button > 0 || (pointer !== null && strokes.at(-1).length > 1)) return;
    if (pointer !== null) strokes = past.pop(); // what rested there was a palm
    [pointer, isKeyed, isKeyDown] = [event.pointerId, false, false];
    try {
      canvas.setPointerCapture(pointer);
    } catch {
      pointer = null; // one that is gone already draws a dot
    }
    lower(at(event));
    changed();
  };
  canvas.onpointermove = (event) => {
    if (event.pointerId !== pointer) return; // a palm, or a second finger
    if (event.buttons === 0) return raise(); // its release was lost
    const events = event.getCoalescedEvents?.() ?? [];
    const isMore = (events.length ? events : [event]).map((one) => add(at(one))).some(Boolean);
    if (isMore) changed();
  };
  const raise = () => {
    if (pointer === null) return;
    pointer = null;
    changed(true);
  };
  canvas.onpointerup = canvas.onpointercancel = canvas.onlostpointercapture = (event) => event.pointerId === pointer && raise();
  window.addEventListener("blur", raise);

  canvas.onkeydown = (event) => {
    const key = event.key, isCommand = event.ctrlKey || event.metaKey;
    const act = key === "Delete" ? "clear"
      : (isCommand && key.toLowerCase() === "z" && event.shiftKey) || (isCommand && key === "y") ? "redo"
      : (isCommand && key === "z") || key === "Backspace" ? "undo" : null;
    if (act) acts[act]();
    else if (key in ARROWS && !isCommand) {
      const step = event.shiftKey ? SMALL_STEP : STEP;
      cursor = cursor.map((place, axis) => Math.min(Math.max(place + step * ARROWS[key][axis], 0), 1));
      isKeyed = true;
      if (isKeyDown && add(cursor)) changed();
      else draw();
    } else if (key === " " || key === "Enter") {
      if (!event.repeat) {
        [isKeyed, isKeyDown] = [true, !isKeyDown];
        if (isKeyDown) lower(cursor);
        changed(!isKeyDown);
      }
    } else return;
    event.preventDefault();
    event.stopPropagation(); // the page has keys of its own
  };
  canvas.onfocus = () => {
    isKeyed = canvas.matches(":focus-visible");
    refresh();
  };
  canvas.onblur = () => {
    isKeyed = isKeyDown = false;
    refresh();
  };
  for (const [act, button] of Object.entries(buttons)) button.onclick = acts[act];

  const observer = new ResizeObserver(() => {
    const ratio = window.devicePixelRatio || 1;
    size = canvas.clientWidth;
    canvas.width = canvas.height = size * ratio;
    canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    draw();
  });
  observer.observe(canvas);

  pad.look = (given) => {
    data = given;
    if (data.order !== order) {
      order = data.order;
      strokes = data.strokes.map((stroke) => stroke.map((point) => [...point]));
      [past, future] = [strokes.map((_, k) => strokes.slice(0, k)), []];
      lift();
      refresh();
    }
    speak();
  };
  pad.end = () => {
    clearTimeout(timer);
    observer.disconnect();
    window.removeEventListener("blur", raise);
    delete canvas.pad;
  };
  return pad;
}
