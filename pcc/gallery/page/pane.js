"use strict";
// One picture of the large view: the photo, and over it a mask or a map and the marks of changed pixels.

class Pane {
  constructor() {
    const make = (tag, name) => Object.assign(document.createElement(tag), { className: name });
    this.figure = make("figure", "pane");
    this.caption = make("figcaption", "");
    this.stage = make("div", "stage");
    this.photo = make("img", "photo");
    this.over = make("canvas", "over");
    this.marks = make("canvas", "marks");
    this.message = make("p", "fault");
    this.over.setAttribute("role", "img");
    this.marks.setAttribute("aria-hidden", "true");
    this.stage.append(this.photo, this.over, this.marks);
    this.figure.append(this.caption, this.stage, this.message);
  }

  // Shows the image at once, and its layer when it has been read; gives what was read, or null.
  async show(i, path, layer, choice, mapOf) {
    const id = GALLERY.ids[i], key = `${id} ${layer?.folder} ${mapOf}`;
    const experiment = Model.experiment(path), size = GALLERY.sizes[i];
    const title = layer === GALLERY.truth ? "ground truth" : experiment ? Filters.experimentName(experiment) : "image";
    this.caption.textContent = layer && layer !== GALLERY.truth ? `${title}: ${LAYERS[layer.kind]}` : title;
    this.key = key;
    this.marks.hidden = true;
    if (this.photo.dataset.id !== id) {
      this.photo.dataset.id = id;
      this.photo.hidden = !size;
      this.photo.alt = `Image ${id}: ${Model.names(GALLERY.tags[i]).join(", ") || "no labels"}`;
      if (size) this.photo.src = Model.photo(i);
      else this.photo.removeAttribute("src");
      this.over.hidden = true;
    }
    this.proportions(size ?? [4, 3]);
    const faults = [GALLERY.problems[i], Model.fault(layer, id)].filter(Boolean);
    if (!layer && choice !== "photo" && choice !== "last") faults.push(`This image has no ${LAYERS[choice]}.`);
    this.message.textContent = faults.join(" ");
    if (!layer) {
      this.over.hidden = true;
      return null;
    }
    try {
      const content = await Layers.load(layer, i);
      if (this.key !== key) return null; // another image has been asked for since
      this.paint(content, layer, mapOf);
      if (!size) this.proportions(content.size);
      return content;
    } catch (error) {
      if (this.key === key) {
        this.over.hidden = true;
        this.message.textContent = error.message;
      }
      return null;
    }
  }

  proportions([width, height]) {
    this.stage.style.setProperty("--w", width);
    this.stage.style.setProperty("--h", height);
  }

  paint(content, layer, mapOf) {
    this.over.hidden = false;
    this.over.classList.toggle("heat", layer.kind === "maps");
    if (layer.kind === "maps") {
      Paint.map(this.over, Pane.mapShown(content, mapOf), content.size);
      const name = content.maps.has(Number(mapOf)) && mapOf !== "" ? Model.className(Number(mapOf)) : "the strongest class";
      this.over.setAttribute("aria-label", `Heat of ${name} over the image`);
      return;
    }
    Paint.mask(this.over, content.mask);
    const all = content.mask.values.length;
    const parts = Paint.counted(content.mask).map(([id, n]) => `${Model.className(id)} ${Model.percent(n / all)}`);
    this.over.setAttribute("aria-label", `Mask over the image: ${parts.join(", ")}`);
  }

  static mapShown(content, mapOf) {
    if (mapOf !== "" && content.maps.has(Number(mapOf))) return content.maps.get(Number(mapOf));
    const things = [...content.maps].filter(([id]) => id > 0).map(([, map]) => map);
    return Paint.strongest(things.length ? things : [...content.maps.values()]);
  }
}
