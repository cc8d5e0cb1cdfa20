// One shape large, or two side by side, which turn together.
import * as stage from "./stage.js";

const TURN = 0.12; // radians a key press
export const sizeOf = (size) => size.map((x) => Number(x.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 })).join(" × ");

export default {
  template: `
    <dialog ref="dialog" class="viewer" aria-labelledby="viewer-title" @close="$emit('close')">
      <header>
        <h2 id="viewer-title">{{ hits.length > 1 ? "Two shapes side by side" : hits[0].name }}</h2>
        <button type="button" class="tool" @click="$refs.dialog.close()">Close</button>
      </header>
      <div class="stages" :class="{ two: hits.length > 1 }" ref="stages" tabindex="0" role="group" :aria-label="help"
        @keydown="key" @pointerdown="grab" @pointermove="drag" @pointerup="held = null" @pointercancel="held = null"
        @wheel.prevent="zoom($event.deltaY > 0 ? 1.1 : 0.9)">
        <figure v-for="(hit, k) in hits" :key="hit.id">
          <div class="stage"><canvas :ref="el => canvases[k] = el" aria-hidden="true"></canvas>
            <img v-if="flat" :src="'api/v1/shapes/' + hit.id + '/thumbnail'" alt=""></div>
          <figcaption>
            <p v-if="hits.length > 1" class="whole">{{ hit.name }}</p>
            <p>{{ hit.class ?? "no class" }}; {{ sizeOf(hit.size) }} {{ hit.unit || "in the units of its file" }}, width × depth × height;
              {{ hit.kind === "mesh" ? hit.faces.toLocaleString("en") + " faces" : hit.vertices.toLocaleString("en") + " points" }}</p>
          </figcaption>
        </figure>
      </div>
      <div class="viewer-tools">
        <button type="button" class="tool" @click="zoom(0.8)">Closer</button>
        <button type="button" class="tool" @click="zoom(1.25)">Farther</button>
        <button type="button" class="tool" @click="reset">Reset</button>
        <button type="button" class="tool" :aria-pressed="String(wires)" @click="toggle">Wireframe</button>
        <p class="hint">Drag, or use the arrow keys, +, -, 0 and W.{{ hits.length > 1 ? " Each is as large as its place." : "" }}</p>
      </div>
    </dialog>`,
  props: { hits: Array },
  emits: ["close"],
  data() {
    return { wires: false, flat: false, held: null };
  },
  computed: {
    help() {
      return "The shape in three dimensions: arrow keys turn it, plus and minus zoom, 0 resets, W shows the wireframe";
    },
  },
  created() {
    this.sizeOf = sizeOf;
    this.canvases = [];
    this.shapes = []; // not reactive: three.js is not
    this.pose = stage.pose();
  },
  async mounted() {
    this.$refs.dialog.showModal();
    this.$refs.stages.focus();
    this.observer = new ResizeObserver(() => this.paint());
    this.observer.observe(this.$refs.stages);
    try {
      this.shapes = await Promise.all(this.hits.map(({ id }) => stage.load(id)));
    } catch { /* the pictures stay */ }
    this.flat = !this.shapes.length;
    this.paint();
  },
  unmounted() {
    this.observer.disconnect();
    for (const { scene } of this.shapes) stage.free(scene);
  },
  methods: {
    paint() {
      for (const [k, shape] of this.shapes.entries()) {
        if (!stage.paint(Object.assign(shape, this.pose), this.canvases[k])) this.flat = true;
      }
    },
    zoom(factor) {
      stage.approach(this.pose, factor);
      this.paint();
    },
    turn(sideways, upwards) {
      stage.turn(this.pose, sideways, upwards);
      this.paint();
    },
    reset() {
      this.pose = stage.pose();
      this.paint();
    },
    toggle() {
      this.wires = !this.wires;
      for (const { scene } of this.shapes) stage.wire(scene, this.wires);
      this.paint();
    },
    grab(event) {
      this.held = { x: event.clientX, y: event.clientY };
      event.currentTarget.setPointerCapture(event.pointerId);
    },
    drag(event) {
      if (!this.held) return;
      this.turn((event.clientX - this.held.x) * 0.008, (event.clientY - this.held.y) * 0.008);
      this.held = { x: event.clientX, y: event.clientY };
    },
    key(event) {
      const does = { ArrowLeft: () => this.turn(-TURN, 0), ArrowRight: () => this.turn(TURN, 0), ArrowUp: () => this.turn(0, TURN),
        ArrowDown: () => this.turn(0, -TURN), "+": () => this.zoom(0.9), "=": () => this.zoom(0.9), "-": () => this.zoom(1.1),
        0: () => this.reset(), w: () => this.toggle(), W: () => this.toggle() }[event.key];
      if (!does || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      does();
    },
  },
};
