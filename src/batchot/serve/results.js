// The shapes that were found, each of which can be turned where it is.
import * as stage from "./stage.js";
import { sizeOf } from "./viewer.js";

const TURN = 0.12; // radians a key press

export default {
  template: `
    <ol class="results" aria-label="Results">
      <li v-for="(hit, k) in hits" :key="hit.id" class="card" :data-id="hit.id">
        <div class="view" :ref="el => views[hit.id] = el" @pointerenter="wake(hit)" @pointerdown="grab($event, hit)"
          @pointermove="drag($event, hit)" @pointerup="release" @pointercancel="release" @wheel="zoom($event, hit)" @dblclick="$emit('look', hit)">
          <img :src="'api/v1/shapes/' + hit.id + '/thumbnail'" alt="" draggable="false" loading="lazy">
          <canvas :ref="el => canvases[hit.id] = el" aria-hidden="true"></canvas>
          <button type="button" class="turns" @focus="wake(hit)" @click="turn(hit.id, TURN, 0)" @keydown="key($event, hit)">
            <span aria-hidden="true">⟲</span> Turn<span class="unseen"> {{ hit.name }} with the arrow keys</span></button>
        </div>
        <div class="text">
          <p v-if="hit.same_file" class="badge">This very file</p>
          <p v-else-if="hit.nearly_same" class="badge">Nearly the same</p>
          <p class="name" :title="hit.name">{{ hit.name }}</p>
          <p class="facts"><span class="class">{{ hit.class ?? "no class" }}</span>
            <span v-if="hit.distance !== null" class="score" :title="'Euclidean distance ' + hit.distance.toFixed(4)">{{ score(hit) }}</span></p>
          <p class="facts size" title="width × depth × height">{{ sizeOf(hit.size) }} {{ hit.unit }}</p>
          <div v-if="bar(hit) !== null" class="bar-of" aria-hidden="true"><div :style="{ width: bar(hit) + '%' }"></div></div>
        </div>
        <div class="actions">
          <button type="button" class="tool" @click="$emit('similar', { id: hit.id, name: hit.name })">More like this<span
            class="unseen">: {{ hit.name }}</span></button>
          <a class="tool" :href="'api/v1/shapes/' + hit.id + '/download'" download>Download<span class="unseen">
            {{ hit.name }}</span></a>
        </div>
        <div class="actions minor">
          <button type="button" class="tool" @click="$emit('look', hit)">Large<span class="unseen">: {{ hit.name }}</span></button>
          <button type="button" class="tool" :aria-pressed="String(compared === hit.id)" @click="$emit('compare', hit)">Compare<span
            class="unseen"> {{ hit.name }} with another</span></button>
          <button type="button" class="tool" @click="$emit('unlike', { id: hit.id, name: hit.name })">Not this<span
            class="unseen">: {{ hit.name }}</span></button>
        </div>
      </li>
    </ol>`,
  props: { hits: Array, spread: Number, compared: String },
  emits: ["similar", "look", "compare", "unlike"],
  created() {
    this.TURN = TURN;
    this.views = {};
    this.canvases = {};
    this.shapes = new Map(); // id -> what is turned, loaded when it is first looked at; not reactive: three.js is not
    this.held = null;
  },
  watch: {
    hits(now) {
      const there = new Set(now.map((hit) => hit.id));
      for (const [id, shape] of this.shapes) {
        if (there.has(id)) continue;
        stage.free(shape.scene);
        this.shapes.delete(id);
      }
    },
  },
  methods: {
    sizeOf,
    // Calibrated where the index is: how probable it is that the shape is of the class of what was asked for.
    score(hit) {
      return hit.likeness === null ? `distance ${hit.distance.toFixed(3)}` : `${Math.round(100 * hit.likeness)} % same class`;
    },
    bar(hit) {
      if (hit.likeness !== null) return 100 * hit.likeness;
      return this.spread && hit.distance !== null ? 100 * Math.max(0, 1 - hit.distance / this.spread) : null;
    },
    async wake(hit) {
      if (this.shapes.has(hit.id) || !stage.works()) return;
      const shape = { ...stage.pose(), scene: null };
      this.shapes.set(hit.id, shape);
      try {
        Object.assign(shape, await stage.load(hit.id));
      } catch {
        this.shapes.delete(hit.id);
        return;
      }
      this.paint(hit.id);
    },
    paint(id) {
      const shape = this.shapes.get(id);
      const canvas = this.canvases[id];
      if (!shape?.scene || !canvas) return;
      if (stage.paint(shape, canvas)) this.views[id].classList.add("turned");
    },
    turn(id, sideways, upwards) {
      const shape = this.shapes.get(id);
      if (!shape?.scene) return;
      stage.turn(shape, sideways, upwards);
      this.paint(id);
    },
    grab(event, hit) {
      this.wake(hit);
      this.held = { id: hit.id, x: event.clientX, y: event.clientY };
      if (!event.target.closest("button")) event.currentTarget.setPointerCapture(event.pointerId);
    },
    drag(event, hit) {
      if (this.held?.id !== hit.id) return;
      this.turn(hit.id, (this.held.x - event.clientX) * -0.012, (event.clientY - this.held.y) * 0.012);
      this.held.x = event.clientX;
      this.held.y = event.clientY;
    },
    release() {
      this.held = null;
    },
    async key(event, hit) {
      const turns = { ArrowLeft: [-TURN, 0], ArrowRight: [TURN, 0], ArrowUp: [0, TURN], ArrowDown: [0, -TURN] };
      if (!turns[event.key]) return;
      event.preventDefault();
      await this.wake(hit);
      this.turn(hit.id, ...turns[event.key]);
    },
    zoom(event, hit) {
      const shape = this.shapes.get(hit.id);
      if (!shape?.scene || !event.ctrlKey) return; // without Ctrl the page scrolls
      event.preventDefault();
      stage.approach(shape, event.deltaY > 0 ? 1.1 : 0.9);
      this.paint(hit.id);
    },
  },
};
