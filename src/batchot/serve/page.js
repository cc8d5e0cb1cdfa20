// The page: draw or upload on the left, what is like it on the right, the map below. All that a visitor has drawn,
// asked and chosen is here, in the address and in the session storage of the tab: the server may go and come back.
import { createApp, nextTick } from "../vue/vue.esm-browser.prod.js";
import { ask, pause } from "./asking.js";
import { askedIn, linkOf } from "./link.js";
import ShapeMap from "./shape_map.js";
import Results from "./results.js";
import SketchPad from "./sketch_pad.js";
import Viewer from "./viewer.js";

const PAGE = 20; // results on a page
const MOST_FILES = 8; // of one question
const WRITTEN = 400; // milliseconds between two changes of the address
const LISTED = 200; // in a list that is saved
const QUESTION = ["asked", "answer", "page", "onlyClasses", "onlyFolders", "text", "unlike", "strokes", "size", "area", "volume", "sameSize", "sort"];
const MOST = 1000; // results that can be looked at
const KEPT = `batchot ${location.pathname}`; // name in the session storage
const PHONE = window.matchMedia("(max-width: 760px)");
const MEASURES = [["size", "longest side", "100..140mm"], ["area", "surface", "30..40cm2"], ["volume", "volume", "..6000mm3"]];
const SORTS = [["distance", "nearest first"], ["-size", "largest first"], ["size", "smallest first"], ["-area", "most surface first"],
  ["area", "least surface first"], ["-volume", "most volume first"], ["volume", "least volume first"]];
const DARK = ["auto", "dark", "light"];

const Filter = {
  template: `
    <div class="filter" v-if="names.length">
      <label :for="id">{{ label }}</label>
      <input :id="id" :list="id + '-names'" v-model="typed" @change="add" @keydown.enter="add" autocomplete="off"
        :placeholder="'all ' + names.length.toLocaleString('en')">
      <datalist :id="id + '-names'"><option v-for="name in names" :key="name" :value="name"
        :label="shapes(counts[name] ?? 0)"></option></datalist>
      <p v-if="wrong" class="wrong" role="alert">There is no {{ wrong }}</p>
      <ul class="chips" v-if="chosen.length">
        <li v-for="name in chosen" :key="name"><button type="button" class="tool" @click="remove(name)">{{ name }}
          <span class="count">{{ counts[name] ?? 0 }}</span> <span aria-hidden="true">✕</span><span class="unseen">: take this filter away</span></button></li>
      </ul>
    </div>`,
  props: { label: String, names: Array, chosen: Array, counts: Object },
  emits: ["choose"],
  data() {
    return { typed: "", wrong: "", id: `filter-${this.label}` };
  },
  methods: {
    shapes: (n) => (n === 1 ? "1 shape" : `${n.toLocaleString("en")} shapes`),
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
  components: { Filter, Results, ShapeMap, SketchPad, Viewer },
  template: `
    <header class="bar">
      <h1>{{ info ? info.name : "Search by shape" }}</h1>
      <p class="about">{{ about }}</p>
      <form v-if="info" class="words" role="search" @submit.prevent="worded">
        <input type="search" v-model="typed" autocomplete="off" maxlength="200" @search="worded" aria-label="Words of the name"
          placeholder="Words of the name, class or folder">
        <button type="submit" class="tool">Find</button>
      </form>
      <button type="button" class="tool" @click="nextDark">Colours: {{ dark }}</button>
    </header>
    <main class="columns">
      <div class="side">
        <section class="box" v-if="info?.takes_drawings" aria-labelledby="draw-title">
          <h2 id="draw-title">Draw a shape</h2>
          <sketch-pad ref="pad" :kept="strokes" hint="Draw here" @sketch="sketched" @strokes="keepStrokes"></sketch-pad>
          <button v-if="strokes.length && asked && asked.kind !== 'sketch'" type="button" class="tool again"
            @click="$refs.pad.send()">Look this drawing up again</button>
        </section>
        <section class="box" aria-labelledby="file-title">
          <h2 id="file-title">{{ info?.takes_drawings ? "Or upload a file" : "Upload a file" }}</h2>
          <div class="drop" :class="{ over }">
            <label for="file">A mesh, a point cloud{{ info?.takes_drawings ? " or a picture" : "" }}: choose it, drop it
              anywhere, or paste it; several of one thing are asked for as one</label>
            <input id="file" type="file" multiple @change="chosen">
          </div>
          <div class="filter axis" v-if="info?.takes_photos"><label for="as">a picture is</label>
            <select id="as" v-model="as" @change="turned"><option value="auto">what its pixels say</option>
              <option value="photo">a photo of an object</option><option v-if="info.takes_drawings" value="picture">a drawing</option></select></div>
          <div class="filter axis"><label for="up">axis of the file that points up</label>
            <select id="up" v-model="up" @change="turned"><option value="auto">as in the index</option>
              <option value="z">z</option><option value="y">y</option></select></div>
        </section>
        <section class="box" v-if="info" aria-labelledby="only-title">
          <h2 id="only-title">Filters</h2>
          <Filter label="classes" :counts="classCounts" :names="classes" :chosen="onlyClasses" @choose="filtered({ onlyClasses: $event })"></Filter>
          <Filter label="folders" :counts="folderCounts" :names="folders" :chosen="onlyFolders" @choose="filtered({ onlyFolders: $event })"></Filter>
          <div class="filter" v-for="[name, label, example] in MEASURES" :key="name"><label :for="name">{{ label }}</label>
            <input :id="name" :value="$data[name]" :placeholder="example" autocomplete="off" maxlength="100"
              @change="filtered({ [name]: $event.target.value.trim() })"></div>
          <label class="check"><input type="checkbox" :checked="sameSize" @change="filtered({ sameSize: $event.target.checked })">
            same size as the shape that is asked for, within 10 %</label>
          <p class="hint">Alone, or together with words, and with what is drawn or given.</p>
        </section>
      </div>
      <div class="main">
        <p v-if="trouble || said" class="trouble" role="alert">{{ trouble || said }}
          <a v-if="locked" href="">Give the token</a></p>
        <section class="answer" :class="tone" ref="answer" tabindex="-1" aria-labelledby="top" :aria-busy="busy">
          <div class="asked" v-if="asked">
            <img v-if="picture" :src="picture" alt="" @error="picture = ''">
            <p>{{ askedFor }}</p>
            <button v-if="trail.length" type="button" class="tool" @click="back">Back to {{ trail.at(-1).name }}</button>
          </div>
          <div role="status" class="said">
            <h2 class="top" id="top">{{ words.headline }}</h2>
            <p class="more">{{ words.details }}</p>
            <p class="more" v-for="line in words.notes" :key="line">{{ line }}</p>
          </div>
          <ul class="chips" v-if="text || unlike.length" aria-label="Filters of this answer">
            <li v-if="text"><button type="button" class="tool" @click="filtered({ text: '' })">“{{ text }}” <span
              aria-hidden="true">✕</span><span class="unseen">: take this filter away</span></button></li>
            <li v-for="one in unlike" :key="one.id"><button type="button" class="tool" @click="wanted(one)">not {{ one.name }} <span
              aria-hidden="true">✕</span><span class="unseen">: take it in again</span></button></li>
          </ul>
          <div class="actions" v-if="answer?.hits.length">
            <label class="sort">order <select :value="sort" @change="filtered({ sort: $event.target.value })">
              <option v-for="[value, label] in SORTS" :key="value" :value="value">{{ label }}</option></select></label>
            <button type="button" class="tool" @click="saveList">Save the list (CSV)</button>
            <a class="tool" :href="zipOf" download="shapes.zip">Save these files (zip)</a>
            <button v-if="canCopy" type="button" class="tool" @click="copyLink">{{ copied ? "Copied" : "Copy the link" }}</button>
          </div>
          <p v-if="compared.length === 1" class="more" role="status">{{ compared[0].name }} is one of two: choose “Compare” of another
            <button type="button" class="tool" @click="compared = []">Choose none</button></p>
        </section>
        <results :hits="answer?.hits ?? []" :spread="answer?.query === 'photo' ? null : info?.spread ?? null" :compared="compared[0]?.id ?? ''" @similar="similar"
          @look="looked = [$event]" @compare="compare" @unlike="notThis"></results>
        <p v-if="!answer?.hits.length" class="empty">What is like it appears here. Drag a shape to turn it.</p>
        <nav v-if="last > 0" class="pages" aria-label="Pages of results">
          <button type="button" class="tool" :disabled="page === 0" @click="turn(-1)">Previous</button>
          <span>page {{ page + 1 }} of {{ last + 1 }}</span>
          <button type="button" class="tool" :disabled="page >= last" @click="turn(1)">Next</button>
        </nav>
        <shape-map v-if="info" :shapes="info.shapes" :hits="answer?.hits ?? []" :asked="asked?.id ?? null"
          :name="asked?.name ?? ''" :dark="isDark" :built="info.built" @similar="similar"></shape-map>
      </div>
      <button v-if="below" type="button" class="below" @click="show">{{ words.headline }}: see what was found</button>
      <viewer v-if="looked.length" :hits="looked" @close="closed"></viewer>
    </main>`,
  data() {
    return {
      info: null, classes: [], folders: [], onlyClasses: [], onlyFolders: [], strokes: [], text: "", typed: "",
      size: "", area: "", volume: "", sameSize: false, sort: "distance",
      unlike: [], // shapes that are not wanted, { id, name }
      classCounts: {}, folderCounts: {}, // of the shapes that the other filters leave
      asked: null, // { kind: "sketch" | "file" | "similar" | "names", name, id of a shape, query: id of what was sent }
      answer: null, error: "", page: 0, picture: "", looked: [], compared: [], copied: false,
      trail: [], // the questions before this one, { name, depth: in the history of the browser }
      canCopy: !!navigator.clipboard, busy: false, trouble: "", said: "", locked: false, over: false,
      below: false, up: "auto", as: "auto", dark: localStorage.getItem("batchot colours") ?? "auto", system: false,
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
    askedName() {
      return this.asked.kind === "names" && this.text ? `“${this.text}”` : this.asked.name;
    },
    askedFor() {
      const { kind, name, several } = this.asked;
      if (kind === "names") return this.text ? `You asked for names with “${this.text}”` : "You asked for all that the filters leave";
      const taken = this.answer?.query;
      const as = taken === "photo" || taken === "drawing" ? `, taken for a ${taken}` : "";
      return kind === "sketch" ? "You asked for your drawing" : kind === "file" ? `You asked for ${several ? "" : "the file "}${name}${as}`
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
    filtering() {
      return !!(this.text || this.onlyClasses.length || this.onlyFolders.length || this.size || this.area || this.volume);
    },
    zipOf() {
      return `api/v1/shapes.zip?${new URLSearchParams(this.answer.hits.map(({ id }) => ["id", id]))}`;
    },
    start() {
      return this.info && !this.info.takes_drawings ? "Give a file" : "Draw something, or give a file";
    },
  },
  created() {
    Object.assign(this, { MEASURES, SORTS });
  },
  async mounted() {
    const scheme = window.matchMedia("(prefers-color-scheme: dark)");
    this.system = scheme.matches;
    scheme.addEventListener("change", () => (this.system = scheme.matches));
    this.paintDark();
    this.files = []; // not reactive: they may be large
    this.known = new Map(); // depth in the history -> the question as it was
    this.tab = Math.random(); // tells the places of this page from those before it was loaded again
    this.depth = 0;
    this.restore();
    history.replaceState({ tab: this.tab, depth: this.depth, trail: this.trail.map((one) => ({ ...one })) }, "");
    // the address is not written any more while the page is loaded again: what is kept would belong to another one
    window.addEventListener("beforeunload", () => clearTimeout(this.writing));
    window.addEventListener("popstate", ({ state }) => this.travelled(state));
    window.addEventListener("paste", ({ clipboardData }) => this.give([...clipboardData.files]));
    window.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      this.over = true;
    });
    window.addEventListener("dragleave", ({ relatedTarget }) => (this.over = this.over && !!relatedTarget));
    window.addEventListener("drop", (event) => {
      this.over = false;
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      this.give([...event.dataTransfer.files]);
    });
    new IntersectionObserver(([seen]) => (this.seen = seen.isIntersecting, this.mark())).observe(this.$refs.answer);
    for (const name of QUESTION) this.$watch(name, () => this.keep(), { deep: false });
    await this.load();
    await nextTick();
    if (this.asked) this.showPicture(); // the sheet is there now
    if (this.asked && !this.answer) this.lookUp({});
    document.addEventListener("visibilitychange", () => document.hidden || this.load());
  },
  methods: {
    async load() {
      const info = await this.get("info");
      if (!info) return;
      document.title = `${info.name}: search by shape`;
      if (info.built !== this.info?.built || info.shapes !== this.info?.shapes) {
        this.info = info;
        this.classCounts = (await this.get("classes")) ?? {};
        this.folderCounts = (await this.get("folders")) ?? {};
        this.classes = Object.keys(this.classCounts).sort();
        const folders = Object.keys(this.folderCounts).sort();
        this.folders = folders.join("\n") === this.classes.join("\n") ? [] : folders;
        if (this.counted().toString()) this.count();
      }
    },
    // How many shapes another choice of class or folder would leave.
    async count() {
      const filters = this.counted().toString();
      const [classes, folders] = [await this.get(`classes?${filters}`), await this.get(`folders?${filters}`)];
      if (filters === this.counted().toString()) Object.assign(this, { classCounts: classes ?? {}, folderCounts: folders ?? {} });
    },
    // The size of what is asked for is known to the question alone.
    counted() {
      const filters = this.filters();
      filters.delete("same_size");
      return filters;
    },
    filters() {
      const filters = new URLSearchParams();
      for (const name of this.onlyClasses) filters.append("class", name);
      for (const name of this.onlyFolders) filters.append("folder", name);
      for (const { id } of this.unlike) filters.append("not", id);
      for (const name of ["text", "size", "area", "volume"]) if (this[name]) filters.set(name, this[name]);
      // a drawing has no size
      if (this.sameSize && (this.asked?.kind === "file" || this.asked?.kind === "similar")) filters.set("same_size", true);
      return filters;
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
      const kept = Object.fromEntries(QUESTION.map((name) => [name, this[name]]));
      try {
        sessionStorage.setItem(KEPT, JSON.stringify({ ...kept, hash: location.hash }));
      } catch { /* full, or not allowed: then nothing comes back */ }
    },
    // What the address asks for; where that is what the tab has kept, with its answer.
    restore() {
      let kept = {};
      try {
        kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
      } catch { /* of another version */ }
      const { hash = "", ...question } = kept;
      Object.assign(this, hash === location.hash ? question : { strokes: kept.strokes ?? [], ...askedIn(location.hash) });
      this.typed = this.text;
      this.trail = history.state?.trail ?? [];
      this.depth = history.state?.depth ?? 0;
      if (this.asked) this.showPicture();
    },
    // Write the question into the address; a new one gets a place in the history of the browser.
    remember(anew) {
      clearTimeout(this.writing);
      if (anew) this.write?.();
      if (anew) this.depth += 1;
      this.known.set(this.depth, { ...Object.fromEntries(QUESTION.map((name) => [name, this[name]])), files: this.files });
      const state = { tab: this.tab, depth: this.depth, trail: this.trail.map((one) => ({ ...one })) };
      const link = linkOf(this);
      this.write = () => {
        history[anew ? "pushState" : "replaceState"](state, "", link);
        this.write = null;
        this.keep();
      };
      if (anew) this.write();
      else this.writing = setTimeout(() => this.write?.(), WRITTEN); // browsers stop who writes at every stroke
    },
    travelled(state) {
      this.stop?.abort();
      clearTimeout(this.writing);
      this.write = null; // it was about the place that has been left
      this.depth = state?.depth ?? 0;
      const known = state?.tab === this.tab ? this.known.get(this.depth) : null;
      const { files = [], ...question } = known ?? { asked: null, answer: null, ...askedIn(location.hash) };
      this.files = files;
      Object.assign(this, { ...question, trail: state?.trail ?? [], error: "", busy: false, typed: question.text, looked: [] });
      this.$refs.pad?.set(this.strokes);
      this.picture = "";
      if (this.asked) this.showPicture();
      this.keep();
      this.count();
      if (this.asked && !this.answer) this.lookUp({ come: true });
      else if (this.asked) this.come();
    },
    keepStrokes(strokes) {
      this.strokes = strokes;
      if (!strokes.length && this.asked?.kind === "sketch") this.clear();
    },
    clear() {
      this.stop?.abort();
      Object.assign(this, { asked: null, answer: null, error: "", page: 0, trail: [], busy: false, picture: "" });
      if (this.filtering) this.asked = { kind: "names", name: "names" }; // what is left of the question
      this.remember(true);
      if (this.asked) this.lookUp({});
    },
    sketched(blob) {
      this.begin({ kind: "sketch", name: "your drawing" }, [blob]);
    },
    chosen(event) {
      this.give([...event.target.files]);
      event.target.value = "";
    },
    give(files) {
      if (!files.length) return;
      const limit = this.info?.upload_bytes ?? Infinity;
      const name = files.length > 1 ? `${files.length} files` : files[0].name;
      const asked = { kind: "file", name, several: files.length > 1 };
      const large = files.find((file) => file.size > limit);
      if (large || files.length > MOST_FILES) {
        this.begin(asked, [], false);
        const mb = (n) => `${(n / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
        this.error = large ? `${large.name} has ${mb(large.size)}; a file may have ${mb(limit)}. Simplify or shrink it`
          : `${files.length} files were given; ${MOST_FILES} at most are asked for as one`;
        return;
      }
      this.begin(asked, files);
    },
    similar({ id, name }) {
      this.begin({ kind: "similar", name, id }, []);
    },
    begin(asked, files, go = true) {
      const drawing = asked.kind === "sketch" && this.asked?.kind === "sketch"; // what was found stays while it is drawn
      if (!drawing && this.asked && this.answer) this.trail = [...this.trail, { name: this.askedName, depth: this.depth }].slice(-20);
      Object.assign(this, { asked, page: 0, error: "" });
      this.files = files;
      if (!drawing) {
        const recount = this.unlike.length;
        Object.assign(this, { answer: null, unlike: [] });
        this.remember(true);
        if (recount) this.count();
      }
      this.showPicture();
      if (go) this.lookUp({ come: asked.kind !== "sketch" });
      else this.come();
    },
    back() {
      history.go(this.trail.at(-1).depth - this.depth);
    },
    // Ask the same with other filters.
    filtered(changes) {
      Object.assign(this, { ...changes, page: 0 });
      this.typed = this.text;
      this.count();
      if (!this.asked || (this.asked.kind === "names" && !this.filtering)) return this.clear();
      this.remember(true);
      if (this.asked) this.lookUp({});
    },
    worded() {
      if (this.typed.trim() !== this.text) this.filtered({ text: this.typed.trim() });
    },
    notThis(one) {
      this.filtered({ unlike: [...this.unlike, one] });
      this.come();
    },
    wanted({ id }) {
      this.filtered({ unlike: this.unlike.filter((one) => one.id !== id) });
      this.come();
    },
    compare(hit) {
      const [other] = this.compared;
      if (other?.id === hit.id) this.compared = [];
      else if (other) Object.assign(this, { looked: [other, hit], compared: [] });
      else this.compared = [hit];
    },
    closed() {
      this.looked = [];
    },
    async copyLink() {
      await navigator.clipboard.writeText(location.href);
      this.copied = true;
      setTimeout(() => (this.copied = false), 2000);
    },
    // The nearest 200 as a table.
    async saveList() {
      const about = this.filters();
      about.set("k", LISTED);
      about.set("sort", this.sort);
      const { value, error } = await ask(this.address(about), {}, (trouble) => this.troubled(trouble));
      if (!value) return (this.said = error || "the server does not remember this file; give it again");
      const columns = ["name", "class", "distance", "likeness", "same_file", "nearly_same", "kind", "faces", "size", "area", "volume", "unit", "id"];
      const rows = value.hits.map((hit, k) => [k + 1, ...columns.map((name) => name === "size" ? hit.size.join(" x ") : hit[name])]);
      const text = [["rank", ...columns], ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([`\ufeff${text}\r\n`], { type: "text/csv" }));
      link.download = "shapes.csv";
      link.click();
      URL.revokeObjectURL(link.href);
    },
    turned() {
      if (this.asked?.kind !== "file") return;
      if (!this.files.length) { // it was loaded again, or is a link: what was found stays
        this.said = `To have ${this.asked.name} read otherwise, give it again`;
        return;
      }
      this.asked = { ...this.asked, query: null }; // read anew, where the file is still here
      this.page = 0;
      this.lookUp({});
    },
    async turn(step) {
      this.page += step;
      this.remember(true);
      await this.lookUp({ come: true });
    },
    // Ask what `asked` says; a question that comes later takes its place.
    async lookUp({ come = false }) {
      this.stop?.abort();
      const stop = (this.stop = new AbortController());
      const asked = this.asked;
      const about = this.filters();
      about.set("k", PAGE);
      about.set("offset", this.page * PAGE);
      about.set("sort", this.sort);
      Object.assign(this, { busy: true, said: "" });
      const told = (trouble) => stop.signal.aborted || this.troubled(trouble);
      let found = { missing: true };
      const address = this.address(about);
      if (address) found = await ask(address, { signal: stop.signal }, told);
      if (found.missing && (asked.kind === "sketch" || asked.kind === "file")) {
        if (!(await readable(this.files))) {
          found = { error: `${asked.name} cannot be read: it is a folder, or was moved or changed since it was chosen` };
        } else if (this.files.length || asked.kind === "sketch") {
          const { body, headers } = await this.body(asked, about);
          found = await ask(`api/v1/search?${about}`, { method: "POST", body, headers, signal: stop.signal }, told);
        } else found = { error: "the server does not remember this file; give it again" };
      }
      if (stop.signal.aborted) return;
      this.busy = false;
      if (found.error) Object.assign(this, { answer: null, error: found.error });
      else {
        Object.assign(this, { answer: found.value, error: "" });
        if (this.page > this.last) { // of a link, or of an index that has shrunk
          this.page = this.last;
          return this.lookUp({ come });
        }
        asked.query = found.value.query_id;
        this.showPicture();
      }
      this.remember(false);
      if (come) this.come();
      await nextTick();
      this.mark();
    },
    // Where the server still knows what is asked for.
    address(about) {
      const { kind, id, query } = this.asked;
      if (kind === "names") return `api/v1/search?${about}`;
      if (kind === "similar") return `api/v1/shapes/${id}/similar?${about}`;
      return query ? `api/v1/queries/${query}?${about}` : "";
    },
    // What is sent, and what the address has to say of it.
    async body(asked, about) {
      const headers = { "content-type": "application/octet-stream" };
      if (asked.kind === "sketch") {
        about.set("name", "the drawing");
        about.set("kind", "sketch");
        return { body: this.files[0] ?? (await this.$refs.pad?.picture()), headers };
      }
      about.set("up", this.up);
      if (this.as !== "auto" && this.files.every((file) => file.type.startsWith("image/"))) about.set("kind", this.as);
      if (this.files.length === 1) {
        about.set("name", asked.name);
        return { body: this.files[0], headers };
      }
      const body = new FormData();
      for (const file of this.files) body.append("file", file);
      return { body, headers: {} };
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
      if (this.pictured) URL.revokeObjectURL(this.pictured);
      this.pictured = null;
      const { kind, id, query } = this.asked;
      if (kind === "names") this.picture = "";
      else if (kind === "similar") this.picture = `api/v1/shapes/${id}/thumbnail`;
      else if (kind === "sketch") {
        pause(0).then(async () => {
          const drawn = await this.$refs.pad?.picture();
          if (drawn && this.asked?.kind === "sketch") this.picture = this.pictured = URL.createObjectURL(drawn);
        });
      } else if (this.files[0]?.type.startsWith("image/")) this.picture = this.pictured = URL.createObjectURL(this.files[0]);
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

// What was chosen can be sent; of a folder, or of a file that is gone, it would look like a lost connection.
async function readable(files) {
  try {
    await Promise.all(files.map((file) => file.slice(0, 1).arrayBuffer()));
    return true;
  } catch {
    return false;
  }
}

// A cell of a table; what a spreadsheet would take for a formula is text.
function cell(value) {
  const text = String(value ?? "");
  const plain = /^[=+@\t\r]/.test(text) || (/^-/.test(text) && Number.isNaN(Number(text))) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

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
  if (answer.query === "name") return { headline: answer.total === 1 ? "1 shape" : `${answer.total.toLocaleString("en")} shapes`, details: "", notes };
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
