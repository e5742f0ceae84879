"use strict";
// The grid of cards. Only the rows in sight, and a few around them, are in the document, however many images there are.

const Grid = (() => {
  const scroller = document.getElementById("scroller"), list = document.getElementById("grid");
  const GAP = 12, PAD = 14, TEXT = 94, SPARE_ROWS = 2;
  const cards = new Map(); // place in the order → <li>
  const spare = []; // cards out of sight, to be filled again
  let order = [], active = 0, wish = 170, waiting = false;
  let columns = 1, width = 1, height = 1;
  let lastTop = 0, settling = 0;

  function measure() {
    const inside = scroller.clientWidth - 2 * PAD;
    columns = Math.max(1, Math.floor((inside + GAP) / (wish + GAP)));
    width = (inside - GAP * (columns - 1)) / columns;
    height = Math.round(width * 0.75) + TEXT;
    const rows = Math.ceil(order.length / columns);
    list.style.height = `${rows * (height + GAP) + 2 * PAD}px`;
    list.style.setProperty("--card-width", `${width}px`);
    list.style.setProperty("--card-height", `${height}px`);
  }

  function render() {
    waiting = false;
    const row = height + GAP;
    // Who leaps through thousands sees ids fly by; pictures come where they stop.
    const leaps = Math.abs(scroller.scrollTop - lastTop) > scroller.clientHeight / 2;
    lastTop = scroller.scrollTop;
    clearTimeout(settling);
    if (leaps) settling = setTimeout(showPictures, 80);
    const first = Math.max(0, Math.floor(scroller.scrollTop / row) - SPARE_ROWS) * columns;
    const last = Math.ceil((scroller.scrollTop + scroller.clientHeight) / row + SPARE_ROWS) * columns;
    const wanted = new Set();
    for (let place = first; place < Math.min(last, order.length); place++) wanted.add(place);
    // The card that has the focus, or will get it by Tab, stays.
    if (order.length) wanted.add(active);
    for (const [place, card] of cards) {
      if (!wanted.has(place)) {
        card.remove();
        cards.delete(place);
        spare.push(card);
      }
    }
    for (const place of [...wanted].sort((a, b) => a - b)) if (!cards.has(place)) insert(place);
    if (!leaps) showPictures();
  }

  function showPictures() {
    for (const image of list.querySelectorAll("img[data-src]")) {
      image.src = image.dataset.src;
      delete image.dataset.src;
    }
  }

  // In the order of the images, for those who go through the document one by one.
  function insert(place) {
    const card = made(place);
    let next = place + 1;
    while (next < place + 2 * columns && !cards.has(next)) next++;
    list.insertBefore(card, cards.get(next) ?? following(place));
    cards.set(place, card);
  }
  function following(place) {
    let best = null;
    for (const other of cards.keys()) if (other > place && (best === null || other < best)) best = other;
    return best === null ? null : cards.get(best);
  }

  function element(tag, name, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function blank() {
    const card = element("li"), link = element("a", "card");
    link.append(...["frame", "id", "tags", "numbers", "numbers"].map((name) => element("span", name)));
    card.append(link);
    return card;
  }

  function made(place) {
    const i = order[place], state = State.get(), id = GALLERY.ids[i];
    const tags = Model.names(GALLERY.tags[i]).join(", ") || "no tags";
    const layer = Model.layerOf(state.experiment, i, state.layer);
    const card = spare.pop() ?? blank(), link = card.firstChild, [frame, ...lines] = link.children;
    card.setAttribute("aria-posinset", place + 1);
    card.setAttribute("aria-setsize", order.length);
    card.style.transform = `translate(${PAD + (place % columns) * (width + GAP)}px, ${PAD + Math.floor(place / columns) * (height + GAP)}px)`;
    link.href = State.address({ image: id });
    link.tabIndex = place === active ? 0 : -1;
    link.dataset.place = place;
    // New pictures, not new addresses for the old ones: those would go on showing another image until they are read.
    const photo = GALLERY.problems[i] ? element("span", "fault", GALLERY.problems[i]) : picture(Model.thumb(i), `${id}: ${tags}`);
    frame.replaceChildren(photo);
    if (layer) {
      const over = picture(Model.path(layer, i, ".png"), "");
      over.className = "over";
      frame.append(over);
    }
    [id, tags, ...facts(i, layer, state)].forEach((text, n) => { lines[n].textContent = text; });
    return card;
  }

  function picture(address, words) {
    const image = new Image();
    image.alt = words;
    image.decoding = "async";
    image.dataset.src = address;
    return image;
  }

  // Two lines: what was measured on the image itself, and how good its layer is.
  function facts(i, layer, state) {
    const size = GALLERY.sizes[i], iou = layer?.iou?.[i] ?? null, confidence = Model.confidence(state.experiment, i);
    const first = [size ? `${size[0]} × ${size[1]}` : "no photo"], second = [];
    if (layer) first.push(`foreground ${Model.percent(layer.share[i], 0)}`);
    if (iou !== null) second.push(`IoU ${Model.percent(iou)}`);
    if (confidence !== null) second.push(`confidence ${confidence.toFixed(2)}`);
    return [first.join(" · "), second.join(" · ")];
  }

  function redraw() {
    measure();
    for (const card of cards.values()) card.remove();
    spare.push(...cards.values());
    cards.clear();
    render();
  }

  function show(images) {
    const image = order[active];
    order = images;
    active = Math.max(0, order.indexOf(image));
    scroller.scrollTop = 0;
    redraw();
  }

  function into(place) {
    const top = PAD + Math.floor(place / columns) * (height + GAP);
    if (top - PAD < scroller.scrollTop) scroller.scrollTop = top - PAD;
    else if (top + height + PAD > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + height + PAD - scroller.clientHeight;
  }

  function activate(place, focus = true) {
    if (!order.length) return;
    const before = cards.get(active)?.firstChild;
    if (before) before.tabIndex = -1;
    active = Math.min(order.length - 1, Math.max(0, place));
    into(active);
    render();
    const link = cards.get(active)?.firstChild;
    if (!link) return;
    link.tabIndex = 0;
    if (focus) link.focus({ preventScroll: true });
  }

  list.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = columns * Math.max(1, Math.floor(scroller.clientHeight / (height + GAP)));
    const to = {
      ArrowLeft: active - 1, ArrowRight: active + 1, Home: 0, End: order.length - 1,
      ArrowUp: active >= columns ? active - columns : active,
      ArrowDown: active + columns < order.length ? active + columns : active,
      PageUp: Math.max(active % columns, active - page), PageDown: Math.min(order.length - 1, active + page),
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    activate(to);
  });
  list.addEventListener("focusin", (event) => {
    const place = Number(event.target.dataset.place);
    if (place !== active) activate(place);
  });
  // A click takes the way of every other change of state, so that Back leads out of the image again.
  list.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    activate(Number(link.dataset.place), false);
    State.set({ image: GALLERY.ids[order[Number(link.dataset.place)]] });
  });
  scroller.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(render);
  }, { passive: true });
  new ResizeObserver(() => { redraw(); }).observe(scroller);

  return {
    show, redraw, activate,
    order: () => order,
    placeOf: (i) => order.indexOf(i),
    focus: () => activate(active),
    setSize: (pixels) => { wish = pixels; redraw(); },
  };
})();
