// A sheet to draw on with mouse, pen or finger. Strokes are kept as points, so that undo is exact and the
// picture that is sent does not depend on the size of the screen.
const SIDE = 256; // pixels of the picture that is sent
const PAUSE = 150; // milliseconds without a movement before a drawing is sent while it goes on

export default {
  template: `
    <div class="pad">
      <canvas ref="sheet" class="pad-sheet" :class="{ traced: !!traced }" :style="{ '--traced': traced ? 'url(' + traced + ')' : 'none' }" role="img" :aria-label="label" @pointerdown="start" @pointermove="move"
        @pointerup="end" @pointercancel="end"></canvas>
      <div class="pad-tools">
        <button type="button" class="tool" :disabled="!strokes.length" @click="undo"
          title="Undo (Ctrl+Z)"><span aria-hidden="true">↶</span> Undo<span class="unseen"> the last stroke</span></button>
        <button type="button" class="tool" :disabled="!redoable.length" @click="redo"
          title="Redo (Ctrl+Shift+Z)"><span aria-hidden="true">↷</span> Redo<span class="unseen"> what was undone</span></button>
        <button type="button" class="tool" :aria-pressed="String(erasing)" @click="erasing = !erasing">Eraser</button>
        <button type="button" class="tool" :disabled="!strokes.length" @click="clear"
          ><span aria-hidden="true">✕</span> Clear<span class="unseen"> the drawing</span></button>
        <button v-if="traced" type="button" class="tool" @click="trace(null)"><span aria-hidden="true">✕</span> Take the picture
          away</button>
        <label v-else class="tool" title="A picture that lies under the drawing and is no part of it">Picture to trace
          <input class="unseen" type="file" accept="image/*" @change="trace($event.target.files[0])"></label>
        <label class="thickness">Thickness
          <input type="range" min="2" max="14" step="1" v-model.number="thickness">
        </label>
      </div>
      <p class="hint">Without mouse, pen or finger: give a picture or a mesh as a file.</p>
    </div>`,
  props: { hint: String, kept: Array },
  emits: ["sketch", "strokes"],
  data() {
    return { strokes: [...this.kept], redoable: [], thickness: 5, drawing: false, erasing: false, traced: "" };
  },
  computed: {
    label() {
      const n = this.strokes.length;
      return `Drawing sheet, ${n ? n + (n === 1 ? " stroke" : " strokes") : "empty"}. Draw with mouse, pen or finger.`;
    },
  },
  mounted() {
    this.context = this.$refs.sheet.getContext("2d");
    this.observer = new ResizeObserver(() => this.paint());
    this.observer.observe(this.$refs.sheet);
    this.watcher = new MutationObserver(() => this.paint()); // the colours are an attribute of the page
    this.watcher.observe(document.documentElement, { attributes: true, attributeFilter: ["data-colours"] });
    this.hotkey = (event) => {
      const typing = /^(input|textarea|select)$/i.test(event.target.tagName) && event.target.type !== "range";
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing) {
        event.preventDefault();
        event.shiftKey ? this.redo() : this.undo();
      }
    };
    window.addEventListener("keydown", this.hotkey);
    this.paint();
  },
  unmounted() {
    this.observer.disconnect();
    this.watcher.disconnect();
    window.removeEventListener("keydown", this.hotkey);
    clearTimeout(this.timer);
  },
  methods: {
    place(event) {
      const box = this.$refs.sheet.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    },
    start(event) {
      if (event.button > 0) return;
      event.preventDefault();
      this.$refs.sheet.setPointerCapture(event.pointerId);
      this.drawing = true;
      this.redoable = [];
      const width = this.erasing ? 3 * this.thickness : this.thickness; // who erases wants to hit
      this.strokes.push({ width, erase: this.erasing, points: [this.place(event)] });
      this.paint();
    },
    move(event) {
      if (!this.drawing) return;
      const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      for (const one of events.length ? events : [event]) this.strokes.at(-1).points.push(this.place(one));
      this.paint();
      this.later();
    },
    end() {
      if (!this.drawing) return;
      this.drawing = false;
      this.send();
    },
    undo() {
      if (!this.strokes.length) return;
      this.redoable.push(this.strokes.pop());
      this.paint();
      this.send();
    },
    redo() {
      if (!this.redoable.length) return;
      this.strokes.push(this.redoable.pop());
      this.paint();
      this.send();
    },
    // Show other strokes than those that were drawn here: of a link, or of an earlier question.
    set(strokes) {
      Object.assign(this, { strokes: [...strokes], redoable: [] });
      this.paint();
    },
    trace(picture) {
      if (this.traced) URL.revokeObjectURL(this.traced);
      this.traced = picture ? URL.createObjectURL(picture) : "";
    },
    clear() {
      Object.assign(this, { strokes: [], redoable: [], erasing: false });
      this.paint();
      this.send();
    },
    later() {
      if (this.timer) return;
      this.timer = setTimeout(() => this.send(), PAUSE);
    },
    async send() {
      clearTimeout(this.timer);
      this.timer = null;
      this.$emit("strokes", [...this.strokes]);
      if (!this.strokes.length) return;
      const picture = await this.picture();
      if (this.strokes.length) this.$emit("sketch", picture); // it may have been wiped in the meantime
    },
    // What is sent: a PNG, or null where the sheet is empty.
    async picture() {
      if (!this.strokes.length) return null;
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = SIDE;
      const context = canvas.getContext("2d");
      this.draw(context, SIDE, "#000");
      context.globalCompositeOperation = "destination-over"; // the paper comes last: the eraser leaves holes
      context.fillStyle = "#fff";
      context.fillRect(0, 0, SIDE, SIDE);
      return new Promise((done) => canvas.toBlob(done, "image/png"));
    },
    draw(context, side, ink) {
      context.strokeStyle = context.fillStyle = ink;
      context.lineCap = context.lineJoin = "round";
      for (const { width, erase, points } of this.strokes) {
        context.globalCompositeOperation = erase ? "destination-out" : "source-over";
        const thick = (width / SIDE) * side;
        context.lineWidth = thick;
        context.beginPath();
        if (points.length === 1) {
          context.arc(points[0][0] * side, points[0][1] * side, thick / 2, 0, 7);
          context.fill();
          continue;
        }
        context.moveTo(points[0][0] * side, points[0][1] * side);
        // through the middles of the segments: a hand moves in curves
        for (let k = 1; k < points.length - 1; k++) {
          const [x, y] = points[k];
          const [u, v] = points[k + 1];
          context.quadraticCurveTo(x * side, y * side, ((x + u) / 2) * side, ((y + v) / 2) * side);
        }
        const last = points.at(-1);
        context.lineTo(last[0] * side, last[1] * side);
        context.stroke();
      }
      context.globalCompositeOperation = "source-over";
    },
    paint() {
      const sheet = this.$refs.sheet;
      if (!sheet) return;
      const side = Math.round(sheet.clientWidth * (window.devicePixelRatio || 1));
      if (!side) return;
      if (sheet.width !== side) sheet.width = sheet.height = side;
      const style = getComputedStyle(sheet);
      this.context.clearRect(0, 0, side, side);
      if (!this.strokes.length && this.hint) {
        this.context.fillStyle = style.getPropertyValue("--pad-hint");
        this.context.font = `${Math.round(side / 18)}px system-ui, sans-serif`;
        this.context.textAlign = "center";
        this.context.fillText(this.hint, side / 2, side / 2);
      }
      this.draw(this.context, side, style.getPropertyValue("--pad-ink"));
    },
  },
};
