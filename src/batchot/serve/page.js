// The page: draw or upload on the left, what is like it on the right, the map below. All that a visitor has drawn,
// asked and chosen is here and in the session storage of the tab: the server may go and come back.
import { createApp, nextTick } from "../vue/vue.esm-browser.prod.js";
import { ask, pause } from "./asking.js";
import ShapeMap from "./shape_map.js";
import Results from "./results.js";
import SketchPad from "./sketch_pad.js";

const PAGE = 20; // results on a page
const MOST = 1000; // results that can be looked at
const KEPT = `batchot ${location.pathname}`; // name in the session storage
const PHONE = window.matchMedia("(max-width: 760px)");
const DARK = ["auto", "dark", "light"];

const Filter = {
  template: `
    <div class="filter" v-if="names.length">
      <label :for="id">{{ label }}</label>
      <input :id="id" :list="id + '-names'" v-model="typed" @change="add" @keydown.enter="add" autocomplete="off"
        :placeholder="'all ' + names.length.toLocaleString('en')">
      <datalist :id="id + '-names'"><option v-for="name in names" :key="name" :value="name"></option></datalist>
      <p v-if="wrong" class="wrong" role="alert">There is no {{ wrong }}</p>
      <ul class="chips" v-if="chosen.length">
        <li v-for="name in chosen" :key="name"><button type="button" class="tool" @click="remove(name)">{{ name }}
          <span aria-hidden="true">✕</span><span class="unseen">: take this filter away</span></button></li>
      </ul>
    </div>`,
  props: { label: String, names: Array, chosen: Array },
  emits: ["choose"],
  data() {
    return { typed: "", wrong: "", id: `filter-${this.label}` };
  },
  methods: {
    add() {
      const typed = this.typed.trim();
      if (!typed) return;
      const name = this.names.find((other) => other === typed)
        ?? this.names.find((other) => other.toLowerCase() === typed.toLowerCase());
      this.wrong = name ? "" : typed;
      if (!name) return;
      this.typed = "";
      if (!this.chosen.includes(name)) this.$emit("choose", [...this.chosen, name]);
    },
    remove(name) {
      this.$emit("choose", this.chosen.filter((other) => other !== name));
    },
  },
};

const Page = {
  components: { Filter, Results, ShapeMap, SketchPad },
  template: `
    <header class="bar">
      <h1>{{ info ? info.name : "Search by shape" }}</h1>
      <p class="about">{{ about }}</p>
      <button type="button" class="tool" @click="nextDark">Colours: {{ dark }}</button>
    </header>
    <main class="columns">
      <div class="side">
        <section class="box" v-if="info?.takes_drawings" aria-labelledby="draw-title">
          <h2 id="draw-title">Draw what you look for</h2>
          <sketch-pad ref="pad" :kept="strokes" hint="Draw here" @sketch="sketched" @strokes="keepStrokes"></sketch-pad>
          <button v-if="strokes.length && asked && asked.kind !== 'sketch'" type="button" class="tool again"
            @click="$refs.pad.send()">Look this drawing up again</button>
        </section>
        <section class="box" aria-labelledby="file-title">
          <h2 id="file-title">{{ info?.takes_drawings ? "Or give a file" : "Give a file" }}</h2>
          <div class="drop" :class="{ over }" @dragover.prevent="over = true" @dragleave="over = false" @drop.prevent="dropped">
            <label for="file">A mesh, a point cloud{{ info?.takes_drawings ? " or a picture" : "" }}: choose it, or drop it
              here</label>
            <input id="file" type="file" @change="chosen">
          </div>
          <div class="filter axis"><label for="up">axis of the file that points up</label>
            <select id="up" v-model="up" @change="turned"><option value="auto">as in the index</option>
              <option value="z">z</option><option value="y">y</option></select></div>
        </section>
        <section class="box" v-if="classes.length || folders.length" aria-labelledby="only-title">
          <h2 id="only-title">Only</h2>
          <Filter label="classes" :names="classes" :chosen="onlyClasses" @choose="onlyClasses = $event; filtered()"></Filter>
          <Filter label="folders" :names="folders" :chosen="onlyFolders" @choose="onlyFolders = $event; filtered()"></Filter>
        </section>
      </div>
      <div class="main">
        <p v-if="trouble" class="trouble" role="alert">{{ trouble }}
          <a v-if="locked" href="">Give the token</a></p>
        <section class="answer" :class="tone" ref="answer" tabindex="-1" aria-labelledby="top" :aria-busy="busy">
          <div class="asked" v-if="asked">
            <img v-if="picture" :src="picture" alt="" @error="picture = ''">
            <p>{{ askedFor }}</p>
            <button v-if="past.length" type="button" class="tool" @click="back">Back to {{ past.at(-1).asked.name }}</button>
          </div>
          <div role="status" class="said">
            <h2 class="top" id="top">{{ words.headline }}</h2>
            <p class="more">{{ words.details }}</p>
            <p class="more" v-for="line in words.notes" :key="line">{{ line }}</p>
          </div>
        </section>
        <results :hits="answer?.hits ?? []" :spread="info?.spread ?? null" @similar="similar"></results>
        <p v-if="!answer?.hits.length" class="empty">What is like it appears here. Drag a shape to turn it.</p>
        <nav v-if="last > 0" class="pages" aria-label="Pages of results">
          <button type="button" class="tool" :disabled="page === 0" @click="turn(-1)">Before</button>
          <span>page {{ page + 1 }} of {{ last + 1 }}</span>
          <button type="button" class="tool" :disabled="page >= last" @click="turn(1)">Next</button>
        </nav>
        <shape-map v-if="info" :shapes="info.shapes" :hits="answer?.hits ?? []" :asked="asked?.id ?? null"
          :name="asked?.name ?? ''" :dark="isDark" :built="info.built" @similar="similar"></shape-map>
      </div>
      <button v-if="below" type="button" class="below" @click="show">{{ words.headline }}: see what was found</button>
    </main>`,
  data() {
    return {
      info: null, classes: [], folders: [], onlyClasses: [], onlyFolders: [], strokes: [],
      asked: null, // { kind: "sketch" | "file" | "similar", name, id of a shape, query: id of what was sent }
      answer: null, error: "", page: 0, past: [], picture: "", busy: false, trouble: "", locked: false, over: false,
      below: false, up: "auto", dark: localStorage.getItem("batchot colours") ?? "auto", system: false,
    };
  },
  computed: {
    about() {
      if (!this.info) return "";
      const classes = this.info.classes ? ` of ${this.info.classes.toLocaleString("en")} classes` : "";
      return `${this.info.shapes.toLocaleString("en")} shapes${classes}`;
    },
    isDark() {
      return this.dark === "auto" ? this.system : this.dark === "dark";
    },
    last() {
      return this.answer ? Math.max(0, Math.floor((Math.min(this.answer.total, MOST) - 1) / PAGE)) : 0;
    },
    askedFor() {
      const { kind, name } = this.asked;
      return kind === "sketch" ? "You asked for your drawing" : kind === "file" ? `You asked for the file ${name}`
        : `You asked for more like ${name}`;
    },
    tone() {
      return this.error ? "error" : this.answer && (this.answer.nothing_like_it || !this.answer.hits.length) ? "unknown" : "";
    },
    words() {
      if (this.error) return { headline: "That cannot be looked up", details: this.error, notes: [] };
      const answer = this.answer;
      if (!answer) return { headline: this.busy ? "Looking it up…" : this.start, details: "", notes: [] };
      return wordsOf(answer, this.asked);
    },
    start() {
      return this.info && !this.info.takes_drawings ? "Give a file" : "Draw something, or give a file";
    },
  },
  async mounted() {
    const scheme = window.matchMedia("(prefers-color-scheme: dark)");
    this.system = scheme.matches;
    scheme.addEventListener("change", () => (this.system = scheme.matches));
    this.paintDark();
    this.file = null; // not reactive: it may be large
    this.restore();
    new IntersectionObserver(([seen]) => (this.seen = seen.isIntersecting, this.mark())).observe(this.$refs.answer);
    for (const name of ["asked", "answer", "page", "onlyClasses", "onlyFolders", "strokes"]) {
      this.$watch(name, () => this.keep(), { deep: false });
    }
    await this.load();
    if (this.asked) this.showPicture(); // the sheet is there now
    document.addEventListener("visibilitychange", () => document.hidden || this.load());
  },
  methods: {
    async load() {
      const info = await this.get("info");
      if (!info) return;
      document.title = `${info.name}: search by shape`;
      if (info.built !== this.info?.built || info.shapes !== this.info?.shapes) {
        this.info = info;
        this.classes = Object.keys((await this.get("classes")) ?? {}).sort();
        const folders = Object.keys((await this.get("folders")) ?? {}).sort();
        this.folders = folders.join("\n") === this.classes.join("\n") ? [] : folders;
      }
    },
    async get(path) {
      const { value } = await ask(`api/v1/${path}`, {}, (trouble) => this.troubled(trouble));
      return value ?? null;
    },
    troubled({ text, locked }) {
      this.trouble = text;
      this.locked = !!locked;
    },
    keep() {
      const { asked, answer, page, onlyClasses, onlyFolders, strokes } = this;
      try {
        sessionStorage.setItem(KEPT, JSON.stringify({ asked, answer, page, onlyClasses, onlyFolders, strokes }));
      } catch { /* full, or not allowed: then nothing comes back */ }
    },
    restore() {
      try {
        Object.assign(this, JSON.parse(sessionStorage.getItem(KEPT) ?? "{}"));
      } catch { /* of another version */ }
      if (this.asked) this.showPicture();
    },
    keepStrokes(strokes) {
      this.strokes = strokes;
      if (!strokes.length && this.asked?.kind === "sketch") this.clear();
    },
    clear() {
      this.stop?.abort();
      Object.assign(this, { asked: null, answer: null, error: "", page: 0, past: [], busy: false, picture: "" });
    },
    sketched(blob) {
      this.begin({ kind: "sketch", name: "your drawing" }, blob);
    },
    chosen(event) {
      const [file] = event.target.files;
      if (file) this.give(file);
      event.target.value = "";
    },
    dropped(event) {
      this.over = false;
      const [file] = event.dataTransfer.files;
      if (file) this.give(file);
    },
    give(file) {
      const limit = this.info?.upload_bytes ?? Infinity;
      const asked = { kind: "file", name: file.name };
      if (file.size > limit) {
        this.begin(asked, null, false);
        const mb = (n) => `${(n / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
        this.error = `${file.name} has ${mb(file.size)}; a file may have ${mb(limit)}. Simplify or shrink it`;
        return;
      }
      this.begin(asked, file);
    },
    similar({ id, name }) {
      this.begin({ kind: "similar", name, id }, null);
    },
    begin(asked, file, go = true) {
      if (this.answer && this.asked && !(this.asked.kind === "sketch" && asked.kind === "sketch")) {
        this.past = [...this.past, { asked: this.asked, answer: this.answer, page: this.page, file: this.file }].slice(-20);
      }
      const drawing = asked.kind === "sketch" && this.asked?.kind === "sketch"; // what was found stays while it is drawn
      Object.assign(this, { asked, page: 0, error: "" });
      if (!drawing) this.answer = null;
      this.file = file;
      this.showPicture();
      if (go) this.lookUp({ come: asked.kind !== "sketch" });
      else this.come();
    },
    back() {
      const { asked, answer, page, file } = this.past.pop();
      this.stop?.abort();
      Object.assign(this, { asked, answer, page, error: "", busy: false });
      this.file = file;
      this.showPicture();
      this.come();
    },
    turned() {
      if (this.asked?.kind !== "file") return;
      this.asked = { kind: "file", name: this.asked.name }; // read anew, where the file is still here
      this.page = 0;
      this.lookUp({});
    },
    filtered() {
      this.page = 0;
      if (this.asked) this.lookUp({});
    },
    async turn(step) {
      this.page += step;
      await this.lookUp({ come: true });
    },
    // Ask what `asked` says; a question that comes later takes its place.
    async lookUp({ come = false }) {
      this.stop?.abort();
      const stop = (this.stop = new AbortController());
      const asked = this.asked;
      const about = new URLSearchParams({ k: PAGE, offset: this.page * PAGE });
      for (const name of this.onlyClasses) about.append("class", name);
      for (const name of this.onlyFolders) about.append("folder", name);
      this.busy = true;
      const told = (trouble) => stop.signal.aborted || this.troubled(trouble);
      let found = { missing: true };
      if (asked.kind === "similar") {
        found = await ask(`api/v1/shapes/${asked.id}/similar?${about}`, { signal: stop.signal }, told);
      } else if (asked.query) {
        found = await ask(`api/v1/queries/${asked.query}?${about}`, { signal: stop.signal }, told);
      }
      if (found.missing && asked.kind !== "similar" && (this.file || asked.kind === "sketch")) {
        const body = this.file ?? (await this.$refs.pad?.picture());
        about.set("name", asked.kind === "sketch" ? "the drawing" : asked.name);
        if (asked.kind === "sketch") about.set("kind", "sketch");
        else about.set("up", this.up);
        const headers = { "content-type": "application/octet-stream" };
        found = await ask(`api/v1/search?${about}`, { method: "POST", body, headers, signal: stop.signal }, told);
      } else if (found.missing && asked.kind !== "similar") {
        found = { error: "the server does not remember this file; give it again" };
      }
      if (stop.signal.aborted) return;
      this.busy = false;
      if (found.error) Object.assign(this, { answer: null, error: found.error });
      else {
        Object.assign(this, { answer: found.value, error: "" });
        asked.query = found.value.query_id;
        this.showPicture();
      }
      this.keep();
      if (come) this.come();
      await nextTick();
      this.mark();
    },
    // Bring the answer before the eyes, and the focus to it: what had it may be gone.
    async come() {
      await nextTick();
      const box = this.$refs.answer.getBoundingClientRect();
      if (box.top < 0 || box.top > window.innerHeight * 0.6) this.$refs.answer.scrollIntoView({ block: "start" });
      this.$refs.answer.focus({ preventScroll: true });
    },
    show() {
      this.$refs.answer.scrollIntoView({ block: "start" });
      this.$refs.answer.focus({ preventScroll: true });
    },
    mark() {
      this.below = PHONE.matches && !this.seen && !!this.answer && this.$refs.answer.getBoundingClientRect().top > 0;
    },
    showPicture() {
      if (this.address) URL.revokeObjectURL(this.address);
      this.address = null;
      const { kind, id, query } = this.asked;
      if (kind === "similar") this.picture = `api/v1/shapes/${id}/thumbnail`;
      else if (kind === "sketch") {
        pause(0).then(async () => {
          const drawn = await this.$refs.pad?.picture();
          if (drawn && this.asked?.kind === "sketch") this.picture = this.address = URL.createObjectURL(drawn);
        });
      } else if (this.file?.type.startsWith("image/")) this.picture = this.address = URL.createObjectURL(this.file);
      else this.picture = query ? `api/v1/queries/${query}/picture` : "";
    },
    nextDark() {
      this.dark = DARK[(DARK.indexOf(this.dark) + 1) % DARK.length];
      localStorage.setItem("batchot colours", this.dark);
      this.paintDark();
    },
    paintDark() {
      document.documentElement.dataset.colours = this.dark;
    },
  },
};

function wordsOf(answer, asked) {
  const count = `${answer.total.toLocaleString("en")} shapes, `
    + `${Math.round(1000 * Object.values(answer.seconds).reduce((a, b) => a + b, 0))} ms`;
  const notes = [];
  const same = answer.same_files;
  if (same.length) {
    notes.push(`This very file is in the index: ${same.slice(0, 3).join(", ")}`
      + (same.length > 3 ? ` and ${same.length - 3} more` : ""));
  }
  if (answer.note) notes.push(answer.note[0].toUpperCase() + answer.note.slice(1));
  if (!answer.hits.length) return { headline: "No shape passes the filters", details: "", notes };
  if (asked?.kind === "similar") return { headline: `More like ${asked.name}`, details: count, notes };
  if (answer.nothing_like_it) {
    const guess = answer.top_class ? `The closest would be ${answer.top_class}. ` : "";
    return { headline: "Nothing like this is in the index", details: guess + count, notes };
  }
  if (answer.top_class === null) return { headline: "The nearest shapes", details: count, notes };
  if (answer.confidence === null) {
    return { headline: answer.top_class, details: `confidence is not calibrated; ${count}`, notes };
  }
  const percent = (p) => `${Math.round(100 * p)} %`;
  const others = answer.ranking.slice(1, 4).filter(({ probability }) => probability >= 0.01)
    .map((one) => `${one.class} ${percent(one.probability)}`).join(", ");
  const details = (others ? `or ${others}; ` : "") + count;
  return { headline: `${answer.top_class}, ${percent(answer.confidence)} sure`, details, notes };
}

createApp(Page).mount("#page");
