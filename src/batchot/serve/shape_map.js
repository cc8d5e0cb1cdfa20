// The map of the embedding: what lies together is alike. ECharts is loaded when the map comes into sight.
import { ask } from "./asking.js";

// Colours that every kind of colour vision tells apart, times shapes of the marks.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const MARKS = ["circle", "rect", "triangle", "diamond", "pin", "arrow", "roundRect"];

export default {
  template: `
    <section class="box" ref="box" aria-labelledby="map-title">
      <h2 id="map-title">Map of {{ points.length && points.length < shapes
        ? points.length.toLocaleString('en') + ' of ' + shapes.toLocaleString('en') : 'all ' + shapes.toLocaleString('en') }}
        shapes</h2>
      <p class="hint">What lies together is alike. Click a shape for more like it; the wheel, or two fingers, come closer. With
        the keyboard, the filter of classes and “More like this” lead to the same shapes.</p>
      <div ref="map" class="map" role="img" :aria-label="label"></div>
      <p v-if="trouble" class="hint">{{ trouble }}</p>
    </section>`,
  props: { shapes: Number, hits: Array, asked: String, name: String, dark: Boolean, built: String },
  emits: ["similar"],
  data() {
    return { points: [], trouble: "" };
  },
  computed: {
    label() {
      const found = this.hits.length ? `; ${this.hits.length} results are ringed, what was asked for is a star` : "";
      return `Map of ${this.points.length} shapes, coloured by class${found}`;
    },
  },
  mounted() {
    this.observer = new IntersectionObserver(([seen]) => seen.isIntersecting && this.begin(), { rootMargin: "200px" });
    this.observer.observe(this.$refs.box);
    this.resized = new ResizeObserver(() => this.chart?.resize());
    this.resized.observe(this.$refs.map);
  },
  unmounted() {
    this.observer.disconnect();
    this.resized.disconnect();
    this.chart?.dispose();
  },
  watch: {
    hits() { this.mark(); },
    dark() { this.paint(); },
    built() { if (this.chart) this.load(); },
  },
  methods: {
    async begin() {
      this.observer.disconnect();
      const { echarts } = await import("../echarts/index.js");
      this.chart = echarts.init(this.$refs.map);
      this.chart.on("click", ({ data }) => data?.id && this.$emit("similar", { id: data.id, name: data.name }));
      await this.load();
    },
    async load() {
      const { value } = await ask("api/v1/map", {}, ({ text }) => (this.trouble = text));
      this.points = value ?? [];
      this.places = new Map(this.points.map((point) => [point.id, [point.x, point.y]]));
      this.paint();
    },
    paint() {
      if (!this.chart || !this.points.length) return;
      const ink = this.dark ? "#c3cbd1" : "#3f474e";
      const classes = [...new Set(this.points.map((point) => point.class ?? ""))].sort();
      const of = grouped(this.points);
      const axis = { show: false, min: -1.05, max: 1.05 };
      const marked = { type: "scatter", z: 5, silent: true, tooltip: { show: false }, data: [] };
      this.chart.setOption({
        animation: false,
        grid: { left: 4, right: 4, top: 4, bottom: 44 },
        legend: { type: "scroll", bottom: 0, textStyle: { color: ink }, pageTextStyle: { color: ink },
          pageIconColor: ink, data: classes.map((name) => name || "no class") },
        xAxis: axis,
        yAxis: axis,
        tooltip: { trigger: "item", confine: true,
          formatter: ({ seriesName, name }) => `${escaped(seriesName)}<br>${escaped(name)}` },
        dataZoom: [{ type: "inside", xAxisIndex: 0 }, { type: "inside", yAxisIndex: 0 }],
        textStyle: { color: ink },
        series: [
          ...classes.map((name, k) => ({
            type: "scatter", name: name || "no class", symbolSize: 6,
            symbol: MARKS[Math.floor(k / COLOURS.length) % MARKS.length],
            itemStyle: { color: COLOURS[k % COLOURS.length], opacity: 0.85 },
            data: of.get(name).map((point) => ({ value: [point.x, point.y], name: point.name, id: point.id })),
          })),
          { ...marked, id: "hits", symbol: "circle", symbolSize: 14,
            itemStyle: { color: "transparent", borderColor: ink, borderWidth: 2 } },
          { ...marked, id: "asked", symbolSize: 20, itemStyle: { color: "#d4002a", borderColor: "#fff", borderWidth: 1.5 },
            symbol: "path://M0,-10L2.9,-3.1L10,-3.1L4.3,1.5L6.2,9L0,4.6L-6.2,9L-4.3,1.5L-10,-3.1L-2.9,-3.1Z" },
        ],
      }, true);
      this.mark();
    },
    // Ring the results, and put a star where what was asked for belongs: at its place, or amid the nearest results.
    mark() {
      if (!this.chart || !this.points.length) return;
      const rings = this.hits.map(({ id }) => this.places.get(id)).filter(Boolean);
      let star = this.places.get(this.asked) ?? null;
      if (!star) {
        const near = this.hits.slice(0, 5).filter(({ id }) => this.places.has(id));
        const weights = near.map(({ distance }) => 1 / Math.max(distance, 1e-6) ** 2);
        const all = weights.reduce((a, b) => a + b, 0);
        if (all) star = [0, 1].map((axis) =>
          near.reduce((sum, { id }, k) => sum + weights[k] * this.places.get(id)[axis], 0) / all);
      }
      this.chart.setOption({ series: [{ id: "hits", data: rings }, { id: "asked", data: star ? [star] : [] }] });
    },
  },
};

function grouped(points) {
  const groups = new Map();
  for (const point of points) {
    const name = point.class ?? "";
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(point);
  }
  return groups;
}

function escaped(text) {
  const element = document.createElement("span");
  element.textContent = text;
  return element.innerHTML;
}
