// Digits as points: hovering shows one, dragging draws a lasso, a click picks the nearest; arrows move a cross that shows one and
// Enter picks it. Runs in the page, as a component.
const NEAR = 14;
const STEP = 12, SMALL_STEP = 3;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const canvas = parentElement.querySelector("canvas");
  const tip = parentElement.querySelector("figure");
  const thumbnail = tip.querySelector("canvas");
  const caption = tip.querySelector("figcaption");
  const { points, groups, colours, texts, centres, side, columns } = data;
  const sprites = new Image();
  sprites.src = data.sprites;
  canvas.setAttribute("aria-label", data.alt);
  // Kept over new data for the same map, as when only its colours change.
  const chosen = (canvas.chosen ??= new Set());
  let lasso = null, places = [], width = 0, height = 0;

  const place = () => {
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    [width, height] = [box.width, box.height];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    places = points.map(([x, y]) => [16 + x * (width - 32), 16 + (1 - y) * (height - 32)]);
    draw();
  };

  const draw = () => {
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
    const ink = style.getPropertyValue("--st-text-color") || "#101522";
    const paper = style.getPropertyValue("--st-background-color") || "#fff";
    pen.clearRect(0, 0, width, height);
    const size = points.length > 4000 ? 1.7 : 2.6;
    for (let group = 0; group < colours.length; group++) {
      pen.fillStyle = colours[group];
      places.forEach(([x, y], k) => {
        if (groups[k] !== group) return;
        pen.globalAlpha = chosen.size && !chosen.has(k) ? 0.18 : 0.85;
        pen.beginPath();
        pen.arc(x, y, data.large[group] ? size * 1.7 : size, 0, 7);
        pen.fill();
      });
    }
    pen.globalAlpha = 1;
    pen.font = "700 17px Inter, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineWidth = 4;
    for (const [name, x, y] of centres) {
      const [left, top] = [16 + x * (width - 32), 16 + (1 - y) * (height - 32)];
      pen.strokeStyle = paper;
      pen.strokeText(name, left, top);
      pen.fillStyle = ink;
      pen.fillText(name, left, top);
    }
    if (lasso) {
      pen.strokeStyle = ink;
      pen.lineWidth = 1.5;
      pen.setLineDash([5, 4]);
      pen.beginPath();
      lasso.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.stroke();
      pen.setLineDash([]);
    }
    if (canvas.cross) {
      const [x, y] = canvas.cross;
      pen.strokeStyle = ink;
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.arc(x, y, NEAR, 0, 7);
      pen.moveTo(x - 5, y);
      pen.lineTo(x + 5, y);
      pen.moveTo(x, y - 5);
      pen.lineTo(x, y + 5);
      pen.stroke();
    }
  };

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  const nearest = ([x, y]) => {
    let best = -1, least = NEAR * NEAR;
    places.forEach(([left, top], k) => {
      const distance = (left - x) ** 2 + (top - y) ** 2;
      if (distance < least) [best, least] = [k, distance];
    });
    return best;
  };

  const show = (k, [x, y]) => {
    tip.hidden = k < 0;
    if (k < 0) return;
    const pen = thumbnail.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, 84, 84);
    pen.drawImage(sprites, (k % columns) * side, Math.floor(k / columns) * side, side, side, 0, 0, 84, 84);
    caption.textContent = texts[k];
    tip.style.left = `${Math.min(Math.max(x - 50, 0), Math.max(width - 100, 0))}px`;
    tip.style.top = `${y > 150 ? y - 135 : y + 18}px`;
  };

  // Even-odd rule: a ray from the point to the right crosses the lasso an odd number of times.
  const isInside = ([x, y], path) => {
    let inside = false;
    for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
      const [[ax, ay], [bx, by]] = [path[i], path[j]];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    }
    return inside;
  };

  const pick = (found) => {
    chosen.clear();
    found.forEach((k) => chosen.add(k));
    draw();
    setStateValue("chosen", found);
  };

  canvas.onpointerdown = (event) => {
    canvas.cross = null;
    canvas.setPointerCapture(event.pointerId);
    lasso = [at(event)];
  };
  canvas.onpointermove = (event) => {
    caption.ariaLive = "off"; // a pointer crosses too many digits to have them read out
    if (!lasso) return show(nearest(at(event)), at(event));
    lasso.push(at(event));
    tip.hidden = true;
    draw();
  };
  canvas.onpointerleave = () => (tip.hidden = true);
  canvas.onpointerup = (event) => {
    if (!lasso) return;
    const path = lasso;
    lasso = null;
    const [first, last] = [path[0], at(event)];
    const isClick = path.every(([x, y]) => Math.abs(x - first[0]) + Math.abs(y - first[1]) < 6);
    let found = [];
    if (isClick) {
      const one = nearest(last);
      if (one >= 0) found = [one];
    } else {
      places.forEach((point, k) => isInside(point, path) && found.push(k));
    }
    pick(found);
  };
  canvas.onpointercancel = () => {
    lasso = null;
    draw();
  };

  canvas.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key], cross = canvas.cross ?? [width / 2, height / 2];
    if (arrow) {
      const step = event.shiftKey ? SMALL_STEP : STEP, ends = [width, height];
      canvas.cross = cross.map((place, axis) => Math.min(Math.max(place + step * arrow[axis], 0), ends[axis]));
      caption.ariaLive = "polite";
      show(nearest(canvas.cross), canvas.cross);
      draw();
    } else if (event.key === "Enter" || event.key === " ") pick([nearest(cross)].filter((k) => k >= 0));
    else if (event.key === "Escape") pick([]);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the page has keys of its own
  };
  canvas.onblur = () => {
    canvas.cross = null;
    tip.hidden = true;
    draw();
  };

  const observer = new ResizeObserver(place);
  observer.observe(canvas);
  return () => observer.disconnect();
}
