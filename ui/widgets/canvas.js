// The standard canvas' pen. It records what is drawn on the canvas beside it, and lets the canvas hear of one tidy mouse only:
// the canvas' own ears would take a palm for the pen, draw on after a release that was lost, and be muted by a second finger.
const NEAR = 1.5; // pixels of the sheet: points closer to the last one are left out
const RESTING = 4; // pixels: a pointer that has not moved as far may be a palm, and gives way to the next
const SILENCED = ["mousedown", "mousemove", "mouseup", "touchstart", "touchmove", "touchend", "touchcancel"];
// The canvas' toolbar would lie over the sheet, unseen where nothing hovers: its buttons are ours here.
const STYLE = ".dc-toolbar { display: none !important; } .upper-canvas { touch-action: none; cursor: crosshair !important; }";
let last = 0; // stroke's number, which grows also where the pen is made anew

export default function ({ data, parentElement, setStateValue }) {
  const place = parentElement.host ?? parentElement;
  const pen = (place.pen ??= begin(place));
  pen.take(data, (drawn) => setStateValue("drawn", drawn));
  return pen.end;
}

function begin(place) {
  const pad = place.closest(".st-key-pad");
  let data = null, send = null, unheard = []; // strokes that the server has not said it took
  let chosen = null; // the pen that was clicked, until the server has it, too: a stroke that follows at once is drawn with it
  let stroke = null; // that is being drawn
  let isFeeding = false; // the canvas hears of us now

  const surfaceOf = (event) => {
    const path = event.composedPath();
    return path.includes(pad) && path[0].matches?.(".upper-canvas") ? path[0] : null;
  };

  const feed = (type, { clientX, clientY }) => {
    isFeeding = true;
    const init = { clientX, clientY, button: 0, buttons: type === "mouseup" ? 0 : 1, view: window };
    stroke.surface.dispatchEvent(new MouseEvent(type, { ...init, bubbles: true, composed: true, cancelable: true }));
    isFeeding = false;
  };

  // The canvas starts to paint once a pointer has moved, so that a palm's rest is nowhere to be seen.
  const paint = () => {
    if (stroke.erases) return wipe();
    if (!stroke.painted) feed("mousedown", stroke.events[0]);
    for (const event of stroke.events.slice(Math.max(stroke.painted, 1))) feed("mousemove", event);
    stroke.painted = stroke.events.length;
  };

  // Takes paint away. The sheet without what lay under it comes from the server, which knows lines and not paint.
  const wipe = () => {
    const paper = stroke.surface.parentElement.querySelector(".lower-canvas").getContext("2d");
    const [[x, y], ...others] = stroke.points;
    paper.save();
    Object.assign(paper, { globalCompositeOperation: "destination-out", lineWidth: stroke.width, lineCap: "round", lineJoin: "round" });
    paper.beginPath();
    paper.moveTo(x, y);
    paper.lineTo(x + 0.01, y);
    for (const point of others) paper.lineTo(...point);
    paper.stroke();
    paper.restore();
  };

  const add = (event) => {
    const { surface, points } = stroke, box = surface.getBoundingClientRect();
    const point = [((event.clientX - box.left) * surface.width) / box.width, ((event.clientY - box.top) * surface.height) / box.height];
    const before = points.at(-1);
    if (before && Math.hypot(point[0] - before[0], point[1] - before[1]) < NEAR) return;
    points.push(point.map((coordinate) => +coordinate.toFixed(1)));
    stroke.events.push({ clientX: event.clientX, clientY: event.clientY });
    const [first] = stroke.events;
    stroke.isMoving ||= Math.hypot(event.clientX - first.clientX, event.clientY - first.clientY) > RESTING;
  };

  const lower = (event) => {
    const surface = surfaceOf(event);
    if (!surface || event.button > 0 || stroke?.isMoving) return;
    const { widths, eraser, order } = data, pen = chosen ?? data.pen;
    const tool = { width: widths[pen], erases: pen === eraser };
    stroke = { pointer: event.pointerId, surface, ...tool, order, points: [], events: [], painted: 0, isMoving: false };
    add(event);
    try {
      surface.setPointerCapture(event.pointerId);
    } catch {
      lift(); // one that is gone already draws a dot
    }
  };

  const move = (event) => {
    if (event.pointerId !== stroke?.pointer) return; // a palm, or a second finger
    if (event.buttons === 0) return lift(); // its release was lost
    const events = event.getCoalescedEvents?.() ?? [];
    (events.length ? events : [event]).forEach(add);
    if (stroke.isMoving) paint();
  };

  const lift = () => {
    if (!stroke) return;
    paint();
    if (!stroke.erases) feed("mouseup", stroke.events.at(-1));
    const { order, width, erases, points } = stroke;
    stroke = null;
    last = Math.max(last + 1, Date.now());
    unheard.push({ number: last, order, width, erases, points });
    send(unheard);
  };

  const liftIfSame = (event) => event.pointerId === stroke?.pointer && lift();
  const silence = (event) => {
    if (isFeeding || !surfaceOf(event)) return;
    event.stopPropagation();
    if (event.type === "touchstart") event.preventDefault(); // neither scrolls nor becomes a mouse
  };

  const choose = (event) => {
    const name = event.target.closest?.(".st-key-tools button")?.textContent.trim();
    if (name in data.widths) chosen = name;
  };

  const heard = {
    click: choose, pointerdown: lower, pointermove: move, pointerup: liftIfSame, pointercancel: liftIfSame, lostpointercapture: liftIfSame,
    blur: (event) => event.target === window && lift(), ...Object.fromEntries(SILENCED.map((type) => [type, silence])),
  };
  for (const [type, act] of Object.entries(heard)) addEventListener(type, act, { capture: true, passive: false });

  // The canvas may come after its pen, and be made anew.
  let frame = null;
  const prepare = () => {
    const roots = [...pad.querySelectorAll("*")].map((element) => element.shadowRoot).filter((root) => root?.querySelector(".upper-canvas"));
    for (const root of roots) {
      if (root.querySelector("style.pen")) continue;
      root.append(Object.assign(document.createElement("style"), { className: "pen", textContent: STYLE }));
    }
    if (roots.length) pad.dataset.hasPen = "";
    else frame = requestAnimationFrame(prepare);
  };

  return {
    take(given, sender) {
      [data, send] = [given, sender];
      if (data.pen === chosen) chosen = null;
      unheard = unheard.filter((one) => one.number > data.heard);
      cancelAnimationFrame(frame);
      prepare();
    },
    // Streamlit also ends what a change of data has overtaken while it was being loaded, and what stands stays.
    end() {
      if (place.isConnected) return;
      cancelAnimationFrame(frame);
      for (const [type, act] of Object.entries(heard)) removeEventListener(type, act, { capture: true });
      delete pad.dataset.hasPen;
      delete place.pen;
    },
  };
}
