// The whole recording in one strip: events a second, gaps, and what of it is seen below. Dragging in it moves there.

export function makeMinimap(canvas, model, state, colors, show) {
  const context = canvas.getContext("2d", { alpha: false });
  let width = 0, height = 0, heights = new Float64Array(0);

  function count() {
    const bins = new Uint32Array(Math.max(1, Math.floor(width))), scale = bins.length / model.span;
    const add = (ns) => { const bin = Math.floor(ns * scale); if (bin >= 0 && bin < bins.length) bins[bin]++; };
    for (let i = 0; i < model.n; i++) {
      if (!model.was_there[i]) add(model.start[i]);
      if (model.fate[i] === 0) add(model.end[i]);
    }
    model.execTime.forEach(add);
    const most = bins.reduce((a, b) => Math.max(a, b), 1);
    heights = Float64Array.from(bins, (each) => each / most);
  }

  function size(w, h, ratio) {
    width = w; height = h;
    canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "10px ui-monospace, monospace";
    count();
  }

  function draw() {
    context.fillStyle = colors.back;
    context.fillRect(0, 0, width, height);
    context.fillStyle = colors.ok;
    heights.forEach((each, x) => { if (each) { const h = Math.max(1, Math.sqrt(each) * (height - 12)); context.fillRect(x, height - h, 1, h); } });
    context.fillStyle = colors.hatch;
    let free = -1;
    for (const { since, until } of model.gaps) {
      const x = Math.max(free, Math.floor((since / model.span) * width));
      const right = Math.max(Math.floor((since / model.span) * width) + 2, (until / model.span) * width);
      if (right > x) context.fillRect(x, 0, right - x, height);
      free = Math.max(free, right);
    }
    const x = (state.from / model.span) * width, w = Math.max(3, ((state.until - state.from) / model.span) * width);
    context.fillStyle = colors.veil;
    context.fillRect(0, 0, x, height);
    context.fillRect(x + w, 0, width - x - w, height);
    context.strokeStyle = colors.selected;
    context.strokeRect(x + 0.5, 0.5, Math.max(2, w - 1), height - 1);
    context.fillStyle = colors.text;
    context.fillText(`most in one second: ${model.header.most} event${model.header.most === 1 ? "" : "s"}`, 4, 10);
  }

  function go(event) {
    const at = (event.offsetX / width) * model.span, half = (state.until - state.from) / 2;
    show(at - half, at + half);
  }
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); go(event); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) go(event); });
  return { draw, size };
}
