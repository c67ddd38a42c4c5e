/* Copyright: (c) 2026, immutable.infra contributors
   GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt) */
"use strict";
// The page is complete without this script. It adds a cursor to each timeline.
for (const card of document.querySelectorAll("[data-swap]")) {
  const frames = JSON.parse(card.querySelector("script[type='application/json']").textContent);
  const svg = card.querySelector("svg.timeline");
  if (!frames.length || !svg) continue;
  const controls = card.querySelector(".scrub");
  const slider = controls.querySelector("input");
  const button = controls.querySelector("button");
  const output = controls.querySelector("output");
  const rows = [...card.querySelectorAll("tr[data-seconds]")];
  const { left, right, until, size } = svg.dataset;
  const cursor = svg.querySelector(".cursor");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = 0;

  // The last index whose value is at most the wanted one, or -1.
  const last = (list, value, of) => {
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (of(list[middle]) <= value) low = middle + 1; else high = middle;
    }
    return low - 1;
  };
  const seconds = (row) => Number(row.dataset.seconds);
  const span = (at) => at < 60 ? `${at.toFixed(1)} s`
    : at < 3600 ? `${Math.floor(at / 60)} min ${Math.floor(at % 60)} s`
    : `${Math.floor(at / 3600)} h ${Math.floor(at % 3600 / 60)} min`;

  const show = (at) => {
    const [, serving, fresh, starting, draining, ill] = frames[Math.max(0, last(frames, at, (frame) => frame[0]))];
    const x = Number(left) + (Number(right) - Number(left)) * Math.min(1, at / Number(until));
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.removeAttribute("visibility");
    const of = Number(size) ? ` of ${size}` : "";
    const parts = serving === null ? [] : [`${serving}${of} in service`];
    parts.push(`${fresh} new in service`);
    if (starting) parts.push(`${starting} starting`);
    if (draining) parts.push(`${draining} draining`);
    if (ill) parts.push(`${ill} unhealthy`);
    for (const row of card.querySelectorAll("tr.now")) row.classList.remove("now");
    const row = rows[last(rows, at, seconds)];
    let event = "";
    if (row) {
      row.classList.add("now");
      event = `\n${row.cells[2].textContent ? `slot ${row.cells[2].textContent}: ` : ""}${row.cells[1].textContent}`;
    }
    const text = `${span(at)}: ${parts.join(", ")}`;
    slider.setAttribute("aria-valuetext", text);
    output.textContent = text + event;
  };

  const stop = () => {
    clearInterval(timer);
    cancelAnimationFrame(timer);
    timer = 0;
    button.textContent = "Play";
  };
  const play = () => {
    if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
    button.textContent = "Pause";
    if (still.matches) { // in steps from event to event, without motion
      timer = setInterval(() => {
        const next = frames.find((frame) => frame[0] > Number(slider.value) + 0.05);
        slider.value = next ? next[0] : slider.max;
        show(Number(slider.value));
        if (!next) stop();
      }, 700);
      return;
    }
    const begin = Number(slider.value), began = performance.now();
    const step = (now) => {
      slider.value = begin + (now - began) / 10000 * Number(until);
      show(Number(slider.value));
      if (Number(slider.value) >= Number(slider.max)) stop(); else timer = requestAnimationFrame(step);
    };
    timer = requestAnimationFrame(step);
  };
  const point = (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    stop();
    slider.value = (x - Number(left)) / (Number(right) - Number(left)) * Number(until);
    show(Number(slider.value));
  };

  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  button.addEventListener("click", () => timer ? stop() : play());
  svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); point(event); });
  svg.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
  controls.hidden = false;
  output.textContent = "Move the slider, or click in the drawing, to see each moment.";
  // A link to a moment: report.html#swap-1@42.5
  const linked = /^#(swap-\d+)@(\d+(?:\.\d+)?)$/.exec(location.hash);
  if (linked && linked[1] === card.id) {
    slider.value = linked[2];
    show(Number(slider.value));
    card.scrollIntoView();
  }
}
