// The shapes that were found. One WebGL renderer draws all of them, each onto the 2D canvas of its card: browsers
// allow few WebGL contexts, and a page shows many shapes.
import { GLTFLoader, THREE } from "../three/index.js";

const TURN = 0.12; // radians a key press
const studio = { renderer: null, failed: false, side: 0 };

function renderer(side) {
  if (studio.failed) return null;
  if (!studio.renderer) {
    try {
      studio.renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true, preserveDrawingBuffer: true });
    } catch {
      studio.failed = true; // no WebGL: the pictures stay
      return null;
    }
    studio.renderer.domElement.addEventListener("webglcontextlost", () => {
      studio.renderer = null; // the browser has taken it away: the pictures come back, and the next turn begins anew
      studio.side = 0;
      document.querySelectorAll(".view.turned").forEach((view) => view.classList.remove("turned"));
    });
  }
  if (studio.side !== side) {
    studio.renderer.setSize(side, side, false);
    studio.side = side;
  }
  return studio.renderer;
}

async function load(address) {
  const gltf = await new GLTFLoader().loadAsync(address);
  const scene = new THREE.Scene();
  gltf.scene.traverse((part) => {
    if (part.isMesh) part.material = new THREE.MeshStandardMaterial({
      color: 0xb6bcc4, roughness: 0.85, metalness: 0, side: THREE.DoubleSide, flatShading: true });
    if (part.isPoints) part.material = new THREE.PointsMaterial({ color: 0x8f9aa6, size: 0.035 });
  });
  scene.add(gltf.scene);
  scene.add(new THREE.HemisphereLight(0xffffff, 0x667080, 1.6));
  const light = new THREE.DirectionalLight(0xffffff, 1.8);
  scene.add(light);
  const sphere = new THREE.Box3().setFromObject(gltf.scene).getBoundingSphere(new THREE.Sphere());
  return { scene, light, centre: sphere.center, radius: sphere.radius || 1 };
}

export default {
  template: `
    <ol class="results" aria-label="Results">
      <li v-for="(hit, k) in hits" :key="hit.id" class="card" :data-id="hit.id">
        <div class="view" :ref="el => views[hit.id] = el" @pointerenter="wake(hit)" @pointerdown="grab($event, hit)"
          @pointermove="drag($event, hit)" @pointerup="release" @pointercancel="release" @wheel="zoom($event, hit)">
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
            <span class="score" :title="'Euclidean distance ' + hit.distance.toFixed(4)">{{ score(hit) }}</span></p>
          <div v-if="bar(hit) !== null" class="bar-of" aria-hidden="true"><div :style="{ width: bar(hit) + '%' }"></div></div>
        </div>
        <div class="actions">
          <button type="button" class="tool" @click="$emit('similar', { id: hit.id, name: hit.name })">More like this<span
            class="unseen">: {{ hit.name }}</span></button>
          <a class="tool" :href="'api/v1/shapes/' + hit.id + '/download'" download>Download<span class="unseen">
            {{ hit.name }}</span></a>
        </div>
      </li>
    </ol>`,
  props: { hits: Array, spread: Number },
  emits: ["similar"],
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
        shape.scene?.traverse((part) => { part.geometry?.dispose(); part.material?.dispose?.(); });
        this.shapes.delete(id);
      }
    },
  },
  methods: {
    // Calibrated where the index is: how probable it is that the shape is of the class of what was asked for.
    score(hit) {
      return hit.likeness === null ? `distance ${hit.distance.toFixed(3)}` : `${Math.round(100 * hit.likeness)} % same class`;
    },
    bar(hit) {
      if (hit.likeness !== null) return 100 * hit.likeness;
      return this.spread ? 100 * Math.max(0, 1 - hit.distance / this.spread) : null;
    },
    async wake(hit) {
      if (this.shapes.has(hit.id) || studio.failed) return;
      const shape = { azimuth: -0.96, height: 0.38, distance: 1, scene: null };
      this.shapes.set(hit.id, shape);
      try {
        Object.assign(shape, await load(`api/v1/shapes/${hit.id}/preview.glb`));
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
      const side = Math.round(canvas.clientWidth * Math.min(window.devicePixelRatio || 1, 2));
      const drawer = renderer(side);
      if (!drawer || !side) return;
      const { azimuth, height, centre, radius } = shape;
      const eye = new THREE.Vector3(
        Math.cos(height) * Math.cos(azimuth), Math.sin(height), -Math.cos(height) * Math.sin(azimuth));
      const camera = new THREE.PerspectiveCamera(30, 1, 0.01, 100);
      camera.position.copy(centre).addScaledVector(eye, (radius * shape.distance * 1.02) / Math.sin(Math.PI / 12));
      camera.lookAt(centre);
      shape.light.position.copy(camera.position).add(new THREE.Vector3(0.4, 1, 0.2).multiplyScalar(radius));
      drawer.render(shape.scene, camera);
      if (canvas.width !== side) canvas.width = canvas.height = side;
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, side, side);
      context.drawImage(drawer.domElement, 0, 0, side, side);
      this.views[id].classList.add("turned");
    },
    turn(id, sideways, upwards) {
      const shape = this.shapes.get(id);
      if (!shape?.scene) return;
      shape.azimuth += sideways;
      shape.height = Math.max(-1.5, Math.min(1.5, shape.height + upwards));
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
      shape.distance = Math.max(0.4, Math.min(3, shape.distance * (event.deltaY > 0 ? 1.1 : 0.9)));
      this.paint(hit.id);
    },
  },
};
